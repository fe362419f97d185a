"""The command line run as people run it: the console script, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["COE", "coe"]

COE = Path(sys.executable).with_name("coe")


def coe(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `coe` with these words, in any folder."""
    return subprocess.run(
        [str(COE), *words], cwd=cwd, capture_output=True, text=True, check=False, env=dict(os.environ)
    )
