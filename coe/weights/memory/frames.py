"""The frames of one tier: where each unit's bytes lie, and what the engine has bound to them.

On a device a unit goes where a unit of its name and size was before, if that place is free. Knows nothing about budgets
or worth: the tier's books say which units leave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from coe.weights.memory.arena import Arena, offset_of
from coe.weights.memory.unit_location import UnitKind, UnitLocations
from coe.weights.unit import Unit

__all__ = ["Bind", "Frame", "Frames"]

# makes of a unit's flat bytes what a model computes with
Bind = Callable[[Unit, torch.Tensor], object]


@dataclass(slots=True)
class Frame:
    """A unit's bytes, and per expert what was bound to them."""

    bytes: torch.Tensor
    kind: UnitKind
    payloads: dict[str, object] = field(default_factory=dict)


class Frames:
    """The frames of one tier by unit hash.

    `locations` are for a tier whose addresses matter; without them a unit goes where it fits best. `retire` is called
    with every frame that is given up, which work already queued may still read.
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

    def __getitem__(self, unit_hash: str) -> Frame:
        return self._frames[unit_hash]

    def __iter__(self) -> Iterator[str]:
        return iter(self._frames)

    def put(self, unit: Unit) -> torch.Tensor | None:
        """Return memory for a unit that is about to arrive; None if no free piece is long enough."""
        flat = self.arena.allocate(unit.size_bytes, self._locations_of(unit))
        if flat is not None:
            self._settle(unit.hash, Frame(flat, UnitKind.of(unit)))
        return flat

    def drop(self, unit_hash: str) -> None:
        """Take a unit's memory back."""
        flat = self._frames.pop(unit_hash).bytes
        del self._at[offset_of(flat)]
        self._retire(flat)
        self.arena.free(flat)

    def payload(self, expert: str, unit: Unit, bind: Bind) -> object:
        """Return what `bind` makes of the unit's bytes; made once per expert while the unit stays where it is."""
        frame = self._frames[unit.hash]
        payload = frame.payloads.get(expert)
        if payload is None:
            payload = frame.payloads[expert] = bind(unit, frame.bytes)
        return payload

    @property
    def has_locations(self) -> bool:
        return self._locations is not None

    def prefers_to_follow(self, unit: Unit, unit_hash: str) -> bool:
        """Whether a unit should take the place of one that is here: they are of one kind, and no such place is free."""
        if self._locations is None or self._frames[unit_hash].kind != UnitKind.of(unit):
            return False
        return not any(self.arena.is_free(offset, unit.size_bytes) for offset in self._locations_of(unit))

    def in_the_way(self, size_bytes: int, losses: Mapping[str, float]) -> list[str] | None:
        """Return the units to evict so that `size_bytes` fit in one piece, at the least loss; None if that cannot be.

        Only units with a loss are named.
        """
        run = self.arena.cheapest_run(size_bytes, lambda start: losses.get(self._at[start]))
        return None if run is None else [self._at[start] for start in run]

    def compact(self, size_bytes: int, is_movable: Callable[[str], bool]) -> int | None:
        """Move units together so that `size_bytes` fit in one piece; what was bound to them has to be bound anew.

        Returns the bytes moved; None if units that cannot be moved stand in the way.
        """
        moved = self.arena.compact(size_bytes, lambda start: is_movable(self._at[start]))
        if moved is None:
            return None
        unit_hashes = {start: self._at.pop(start) for start in moved}
        for start, flat in moved.items():
            before = self._frames[unit_hashes[start]]
            self._retire(before.bytes)
            self._settle(unit_hashes[start], Frame(flat, before.kind))
        return sum(flat.numel() for flat in moved.values())

    def close(self) -> None:
        self._frames.clear()
        self._at.clear()
        self.arena.close()

    def _settle(self, unit_hash: str, frame: Frame) -> None:
        self._frames[unit_hash] = frame
        self._at[offset_of(frame.bytes)] = unit_hash
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
        assert {offset_of(frame.bytes): unit_hash for unit_hash, frame in self._frames.items()} == self._at
