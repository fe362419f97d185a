"""What queued work may still read: bytes that were given up, each behind an event of the moment when they were.

Whoever writes into such bytes waits for the events first. Pure but for asking events whether they are over.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, NamedTuple, Protocol, TypeVar

__all__ = ["E", "Event", "Fences"]


class Event(Protocol):
    """A point in a stream of work: `torch.cuda.Event`, as far as needed here."""

    def query(self) -> bool:
        """Whether all that was queued before it is over."""
        ...

    def synchronize(self) -> None:
        """Wait, on the host, until that is so."""
        ...


E = TypeVar("E", bound=Event)


class _Fence(NamedTuple, Generic[E]):
    start: int
    end: int
    event: E


class Fences(Generic[E]):
    """Ranges of bytes behind events of one stream, which are over in the order in which they were recorded."""

    def __init__(self) -> None:
        self._fences: deque[_Fence[E]] = deque()

    def __len__(self) -> int:
        return len(self._fences)

    def add(self, start: int, end: int, event: E) -> None:
        """Bytes from `start` to before `end` were given up just before `event` was recorded."""
        self._prune()
        self._fences.append(_Fence(start, end, event))

    def before(self, start: int, end: int) -> E | None:
        """The event to wait for before writing there: the last one, which comes after all the others."""
        self._prune()
        overlapping = (fence.event for fence in reversed(self._fences) if fence.start < end and start < fence.end)
        return next(overlapping, None)

    def _prune(self) -> None:
        while self._fences and self._fences[0].event.query():
            self._fences.popleft()
