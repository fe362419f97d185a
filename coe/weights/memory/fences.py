"""Which bytes queued work may still read: ranges that were given up, each with the event that ends such work.

A write into such bytes has to wait for the event first. Pure, but for asking events whether they are over.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, NamedTuple, Protocol, TypeVar

__all__ = ["E", "Event", "Fences"]


class Event(Protocol):
    """A point in a queue of work: `torch.cuda.Event`, as far as it is needed here."""

    def query(self) -> bool:
        """Whether all work queued before it is over."""
        ...

    def synchronize(self) -> None:
        """Wait, on the host, until all work queued before it is over."""
        ...


E = TypeVar("E", bound=Event)


class _Fence(NamedTuple, Generic[E]):
    start: int
    end: int
    event: E


class Fences(Generic[E]):
    """Ranges of bytes with events of one queue, which are over in the order in which they were recorded."""

    def __init__(self) -> None:
        self._fences: deque[_Fence[E]] = deque()

    def add(self, start: int, end: int, event: E) -> None:
        """Note that bytes from `start` to before `end` were given up just before `event` was recorded."""
        self._prune()
        self._fences.append(_Fence(start, end, event))

    def before(self, start: int, end: int) -> E | None:
        """Return the event to wait for before bytes there are written: the last of theirs, which all others precede."""
        self._prune()
        overlapping = (fence.event for fence in reversed(self._fences) if fence.start < end and start < fence.end)
        return next(overlapping, None)

    def _prune(self) -> None:
        while self._fences and self._fences[0].event.query():
            self._fences.popleft()
