"""Where units of a name and size have been in a tier's memory, so that the next such unit takes the same place.

Experts of one architecture have units of the same names and sizes, so they take each other's places, and a decode step
captured over those addresses serves them all. Places do not overlap: one is forgotten when a unit of another kind takes
a byte of it. Pure.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from typing import NamedTuple

from coe.weights.unit import Unit

__all__ = ["UnitKind", "UnitLocations"]


class UnitKind(NamedTuple):
    """What units have in common that may take each other's place."""

    name: str
    size_bytes: int

    @classmethod
    def of(cls, unit: Unit) -> UnitKind:
        return cls(unit.name, unit.size_bytes)


class UnitLocations:
    """Offsets by kind of unit. `forgotten` is called with the offset and size of each place that is forgotten."""

    def __init__(self, forgotten: Callable[[int, int], None] = lambda *_: None) -> None:
        self._forgotten = forgotten
        self._kinds: dict[int, UnitKind] = {}  # by offset
        self._starts: list[int] = []
        self._of: dict[UnitKind, list[int]] = {}

    def of(self, kind: UnitKind) -> Sequence[int]:
        """Return the offsets where units of this kind have been, the lowest first."""
        return self._of.get(kind, ())

    def settle(self, kind: UnitKind, offset: int) -> None:
        """Note that a unit of this kind lies there now, and forget the places that it overlaps with."""
        if self._kinds.get(offset) == kind:
            return
        for start in self._overlapping(offset, offset + kind.size_bytes):
            self._starts.remove(start)
            before = self._kinds.pop(start)
            self._of[before].remove(start)
            self._forgotten(start, before.size_bytes)
        self._kinds[offset] = kind
        insort(self._starts, offset)
        insort(self._of.setdefault(kind, []), offset)

    def _overlapping(self, start: int, end: int) -> list[int]:
        first = bisect_left(self._starts, start)
        if first and self._starts[first - 1] + self._kinds[self._starts[first - 1]].size_bytes > start:
            first -= 1
        return self._starts[first : bisect_left(self._starts, end)]

    def check_integrity(self) -> None:
        """Raise AssertionError if places overlap."""
        assert self._starts == sorted(self._kinds)
        ends = [start + self._kinds[start].size_bytes for start in self._starts]
        assert all(end <= start for end, start in zip(ends, self._starts[1:], strict=False))
        assert sum(len(starts) for starts in self._of.values()) == len(self._starts)
