"""The Python client of a coe server: `Client` and `AsyncClient`, and what they answer with.

Light: imports httpx and no torch.

    calls.py    each request as a value: what is sent, and how the answer is read
    fields.py   the fields that users write as keyword arguments, typed
    answers.py  JSON → Answer, Embeddings, Decision, ExpertStatus
    sse.py      lines → server-sent events
    stream.py   an answer that comes in pieces
    events.py   what a server does, as it does it
    once.py     what is read once
    errors.py   HTTP errors → the classes of coe.errors that the server raised
    retries.py  what is asked again, and when
    client.py   the two clients, which differ only in how they wait
"""

from __future__ import annotations

from coe.client.answers import Answer, Choice, Completions, Embeddings
from coe.client.client import AsyncClient, Client
from coe.client.events import AsyncEvents, Event, Events
from coe.client.fields import ChatFields, CompletionFields
from coe.client.stream import AsyncStream, Stream, StreamDelta, ToolCallDelta

__all__ = [
    "Answer",
    "AsyncClient",
    "AsyncEvents",
    "AsyncStream",
    "ChatFields",
    "Choice",
    "Client",
    "CompletionFields",
    "Completions",
    "Embeddings",
    "Event",
    "Events",
    "Stream",
    "StreamDelta",
    "ToolCallDelta",
]
