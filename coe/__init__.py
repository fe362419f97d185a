"""coe: a Composition-of-Experts serving runtime.

`import coe` is light: it has the client and the root of the errors, and imports no torch.
"""

from __future__ import annotations

from coe.client import Answer, AsyncClient, Client
from coe.errors import CoeError

__all__ = ["Answer", "AsyncClient", "Client", "CoeError"]
__version__ = "0.1.0"
