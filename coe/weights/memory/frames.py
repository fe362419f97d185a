"""One tier's frames: which unit's bytes lie where, and what the engine has bound to them.

On a device a unit goes where one of its name and size was before, if that place is free. Knows nothing about budgets or
worth: the residency table says what may go, the cache what comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from coe.weights.memory.arena import Arena, offset_of
from coe.weights.memory.unit_location import UnitKind, UnitLocations
from coe.weights.unit import Unit

__all__ = ["Frame", "Frames"]


@dataclass(slots=True)
class Frame:
    """A unit's bytes, and what was bound to them per expert."""

    bytes: torch.Tensor
    kind: UnitKind
    payloads: dict[str, object] = field(default_factory=dict)


class Frames:
    """The frames of one tier by unit hash.

    `locations` are for a tier whose addresses matter; without, a unit goes where it fits best. `retire` is called with
    bytes that work already queued may still read.
    """

    def __init__(
        self,
        arena: Arena,
        locations: UnitLocations | None = None,
        retire: Callable[[torch.Tensor], None] = lambda _: None,
    ) -> None:
        self.arena = arena
        self._locations = locations
        self._retire = retire
        self._frames: dict[str, Frame] = {}
        self._at: dict[int, str] = {}  # offset -> unit hash

    def __getitem__(self, digest: str) -> Frame:
        return self._frames[digest]

    def __iter__(self) -> Iterator[str]:
        return iter(self._frames)

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, unit: Unit) -> torch.Tensor | None:
        """Return memory for a unit that is about to arrive; None if no free piece is long enough."""
        flat = self.arena.allocate(unit.size_bytes, self._locations_of(unit))
        if flat is not None:
            self._settle(unit.hash, Frame(flat, UnitKind.of(unit)))
        return flat

    def drop(self, digest: str) -> None:
        """Take a unit's memory back."""
        flat = self._frames.pop(digest).bytes
        del self._at[offset_of(flat)]
        self._retire(flat)
        self.arena.free(flat)

    @property
    def has_locations(self) -> bool:
        return self._locations is not None

    def prefers_to_follow(self, unit: Unit, digest: str) -> bool:
        """Whether a unit had better take the place of one that is here: they are of one kind, and no such is free."""
        if self._locations is None or self._frames[digest].kind != UnitKind.of(unit):
            return False
        return not any(self.arena.is_free(offset, unit.size_bytes) for offset in self._locations_of(unit))

    def in_the_way(self, size_bytes: int, losses: Mapping[str, float]) -> list[str] | None:
        """Return the units to evict so that `size_bytes` fit in one piece, at the least loss; None if that cannot be.

        Only those with a loss may be named.
        """
        run = self.arena.cheapest_run(size_bytes, lambda start: losses.get(self._at[start]))
        return None if run is None else [self._at[start] for start in run]

    def compact(self, size_bytes: int, is_movable: Callable[[str], bool]) -> int | None:
        """Move units together so that `size_bytes` fit in one piece; what was bound to them is bound anew.

        Returns the bytes moved; None if units that cannot be moved stand in the way.
        """
        moved = self.arena.compact(size_bytes, lambda start: is_movable(self._at[start]))
        if moved is None:
            return None
        digests = {start: self._at.pop(start) for start in moved}
        for start, flat in moved.items():
            before = self._frames[digests[start]]
            self._retire(before.bytes)
            self._settle(digests[start], Frame(flat, before.kind))
        return sum(flat.numel() for flat in moved.values())

    def close(self) -> None:
        self._frames.clear()
        self._at.clear()
        self.arena.close()

    def _settle(self, digest: str, frame: Frame) -> None:
        self._frames[digest] = frame
        self._at[offset_of(frame.bytes)] = digest
        if self._locations is not None:
            self._locations.settle(frame.kind, offset_of(frame.bytes))

    def _locations_of(self, unit: Unit) -> Sequence[int]:
        return () if self._locations is None else self._locations.of(UnitKind.of(unit))

    def check_integrity(self) -> None:
        """Raise AssertionError if frames and memory disagree."""
        self.arena.check_integrity()
        if self._locations is not None:
            self._locations.check_integrity()
        assert self.arena.used_bytes == sum(frame.bytes.numel() for frame in self._frames.values())
        assert {offset_of(self._frames[digest].bytes): digest for digest in self._frames} == self._at
