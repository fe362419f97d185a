"""The Python client of a coe server: `Client` and `AsyncClient`, and what they answer with.

Light: imports httpx and no torch.

    calls.py    each request as a value: what is sent, and how the answer is read
    answers.py  JSON → Answer, Decision, ExpertStatus
    stream.py   an answer that comes in pieces
    errors.py   HTTP errors → the classes of coe.errors that the server raised
    client.py   the two clients, which differ only in how they wait
"""

from __future__ import annotations

from coe.client.answers import Answer, Choice
from coe.client.client import AsyncClient, Client
from coe.client.stream import AsyncStream, Stream

__all__ = ["Answer", "AsyncClient", "AsyncStream", "Choice", "Client", "Stream"]
