"""What a dialect makes of a request's events: the seam between the runtime's events and what goes over the wire.

Implemented by OpenAI's chat and completions, by its responses and by Anthropic's messages. Knows nothing about HTTP.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from coe.types import GenerateEvent, Routed
from server.failures import Failure

__all__ = ["Answer"]


class Answer(Protocol):
    """Takes a request's events after its decision, and writes the whole answer or the events of its stream.

    A whole answer `take`s every event, then says `whole`. A stream is `opening`, the `chunks` of every event, which
    takes it too, and `closing`, or `failing` where something failed. With `names_events` an event of the stream has the
    name that is its `type`; `last_line` is the text after all of them.
    """

    @property
    def names_events(self) -> bool: ...
    @property
    def last_line(self) -> str: ...
    def take(self, event: GenerateEvent) -> None: ...
    def whole(self) -> dict[str, Any]: ...
    def opening(self, routed: Routed) -> Iterable[dict[str, Any]]: ...
    def chunks(self, event: GenerateEvent) -> Iterable[dict[str, Any]]: ...
    def closing(self) -> Iterable[dict[str, Any]]: ...
    def failing(self, failure: Failure) -> Iterable[dict[str, Any]]: ...
