"""One tier's frames: which unit's bytes lie where, and what the engine has bound to them.

A unit goes where one of its name and size was before, if that place is free: an expert that comes back, or another of
its architecture, then has the addresses that CUDA graphs were captured with. Knows nothing about budgets or worth: the
residency table says what may go, the cache what comes.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch

from coe.weights.arena import Arena, offset_of
from coe.weights.unit import Unit

__all__ = ["Frame", "Frames"]

_Place = tuple[str, int]  # a unit's name and size: what experts of one architecture have in common


@dataclass(slots=True)
class Frame:
    """A unit's bytes, and what was bound to them per expert."""

    bytes: torch.Tensor
    place: _Place
    payloads: dict[str, object] = field(default_factory=dict)


class Frames:
    """The frames of one tier by unit hash. `retire` hears of bytes that work already queued may still read, `recut` of
    the address and size of a place that is another one now."""

    def __init__(
        self,
        arena: Arena,
        retire: Callable[[torch.Tensor], None] = lambda _: None,
        recut: Callable[[int, int], None] = lambda *_: None,
    ) -> None:
        self.arena = arena
        self._retire, self._recut = retire, recut
        self._frames: dict[str, Frame] = {}
        self._at: dict[int, str] = {}  # offset -> unit hash
        self._homes: dict[_Place, list[int]] = {}  # offsets that were a place's last, in order
        self._lived: dict[int, _Place] = {}  # offset -> the place that it was last

    def __getitem__(self, digest: str) -> Frame:
        return self._frames[digest]

    def __iter__(self) -> Iterator[str]:
        return iter(self._frames)

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, unit: Unit) -> torch.Tensor | None:
        """Return memory for a unit that is about to arrive; None if no free piece is long enough."""
        place = _place_of(unit)
        flat = self.arena.allocate(unit.size_bytes, self._homes.get(place, ()))
        if flat is not None:
            self._frames[unit.hash] = Frame(flat, place)
            self._settle(unit.hash, flat, place)
        return flat

    def drop(self, digest: str) -> None:
        """Take a unit's memory back."""
        flat = self._frames.pop(digest).bytes
        del self._at[offset_of(flat)]
        self._retire(flat)
        self.arena.free(flat)

    def has_home(self, unit: Unit) -> bool:
        """Whether a place where one like this unit was is free."""
        return any(self.arena.is_free(home, unit.size_bytes) for home in self._homes.get(_place_of(unit), ()))

    def is_place_of(self, digest: str, unit: Unit) -> bool:
        """Whether a unit that is here has the name and size of this one: it could take its very place."""
        return self._frames[digest].place == _place_of(unit)

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
            frame = self._frames[digests[start]]
            self._retire(frame.bytes)
            frame.bytes = flat
            frame.payloads.clear()
            self._settle(digests[start], flat, frame.place)
        return sum(flat.numel() for flat in moved.values())

    def close(self) -> None:
        self._frames.clear()
        self._at.clear()
        self.arena.close()

    def _settle(self, digest: str, flat: torch.Tensor, place: _Place) -> None:
        offset = offset_of(flat)
        self._at[offset] = digest
        before = self._lived.get(offset)
        if before != place:
            if before is not None:
                self._homes[before].remove(offset)
                self._recut(flat.data_ptr(), before[1])
            insort(self._homes.setdefault(place, []), offset)
            self._lived[offset] = place

    def check_integrity(self) -> None:
        """Raise AssertionError if frames and memory disagree."""
        self.arena.check_integrity()
        assert self.arena.used_bytes == sum(frame.bytes.numel() for frame in self._frames.values())
        assert {offset_of(self._frames[digest].bytes): digest for digest in self._frames} == self._at


def _place_of(unit: Unit) -> _Place:
    return unit.name, unit.size_bytes
