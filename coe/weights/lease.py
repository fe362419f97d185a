"""The right to run an expert, and how far its units are: what a step may run now, what has to move next.

Owned by the engine thread. A lease of an expert that fits holds all of it. A lease of a larger one holds its leading
units and a window that follows the step under way: behind it units may be evicted, before it they are on their way.
Knows nothing about how bytes move: the cache does that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

import torch

from coe.types import SwitchKind, Tier
from coe.weights.residency import Claim, Pool
from coe.weights.transfer import Arrived
from coe.weights.unit import Unit

__all__ = ["Bind", "Lease", "Owner"]

Bind = Callable[[Unit, torch.Tensor], object]


class Owner(Protocol):
    """What a lease needs of the cache."""

    @property
    def front(self) -> Pool: ...
    def release(self, lease: Lease) -> None: ...
    def payload(self, expert: str, unit: Unit, bind: Bind) -> object: ...
    def host_payload(self, unit: Unit, bind: Bind) -> object: ...
    def pump(self) -> None: ...


@dataclass(slots=True, eq=False)
class Lease:
    """Units of an open lease may not leave the device. Use as a context manager."""

    expert: str
    units: tuple[Unit, ...]
    claim: Claim
    _owner: Owner
    disk_bytes: int = 0
    copied_bytes: int = 0  # host -> device
    load_s: float = 0.0  # seconds in which bytes of it were moving
    ended_s: float | None = None  # when the last byte of it arrived
    is_open: bool = True
    is_failed: bool = False  # a unit of it cannot be loaded; nothing more is tried
    runs_whole: bool = False  # a step takes all units at once, so that between two steps any of them may be moved
    gathers: bool = False  # the first unit may run from its host bytes, and then travels last
    holds_rows: bool = False  # those bytes are there and stay until it has travelled
    _at: int = 0  # the unit that the step under way runs next; a lease that holds everything stays at 0
    _next: int = 0  # all units from `_at` up to this one are ready
    _held: list[Unit] = field(default_factory=list)

    @property
    def kind(self) -> SwitchKind:
        if self.disk_bytes:
            return SwitchKind.DISK_MISS
        return SwitchKind.HOST_HIT if self.copied_bytes else SwitchKind.DEVICE_HIT

    @property
    def loaded_bytes(self) -> int:
        """Bytes that crossed the slowest tier this lease needed."""
        return self.disk_bytes or self.copied_bytes

    @property
    def is_streaming(self) -> bool:
        """Whether the expert is larger than the tier it runs in."""
        return len(self.claim.units) < len(self.units)

    @property
    def is_ready(self) -> bool:
        """Whether all that the lease holds is here."""
        return self.num_ready() >= len(self.claim.units)

    @property
    def is_whole(self) -> bool:
        """Whether every unit of the expert is here, the first one too, and stays."""
        return self.is_ready and not self.is_streaming and not self.holds_rows

    def num_ready(self) -> int:
        """How many units a step may run up to, given that it has run those it has."""
        while self._next < len(self.units) and self._is_here(self.units[self._next]):
            self._next += 1
        return 0 if self.runs_whole and self._next < len(self.units) else self._next

    def payload(self, index: int, bind: Bind) -> object:
        """What `bind` made of a ready unit; a step asks for them in order, and for the first one again at the end.

        It holds until the step pauses: units may be moved then, and are bound anew.
        """
        if self.is_streaming and index not in (0, self._at):
            self._move(index)
        if index == 0 and self.holds_rows:
            return self._owner.host_payload(self.units[0], bind)
        return self._owner.payload(self.expert, self.units[index], bind)

    def rewind(self) -> None:
        """The step under way is over: the next one begins at the first unit."""
        if self.is_streaming and self._at:
            self._next = 0
            self._move(0)

    def wanted(self) -> Iterator[Unit]:
        """Units to bring here, the most urgent first; those of a window are held by being named."""
        if not self.is_streaming:
            yield from self.units[self.num_ready() :]
            return
        yield from self.claim.units
        yield from self._held

    def note(self, unit: Unit, event: Arrived, busy_s: float) -> None:
        """Book a transfer that this lease waited for."""
        if event.tier is Tier.HOST:
            self.disk_bytes += unit.size_bytes
        else:
            self.copied_bytes += unit.size_bytes
        self.load_s += busy_s
        self.ended_s = event.ended_s

    def _move(self, index: int) -> None:
        """The step has come to this unit: those behind may go, those ahead come."""
        self._at = index
        self.open_window()
        self._owner.pump()

    def open_window(self) -> None:
        """Hold the next units that the lease does not hold, as many as its window takes."""
        front, passing = self._owner.front, self._ahead()
        for unit in passing:
            front.hold(unit)
        for unit in self._held:
            front.unhold(unit)
        self._held = passing

    def close_window(self) -> None:
        for unit in self._held:
            self._owner.front.unhold(unit)
        self._held = []

    def _is_here(self, unit: Unit) -> bool:
        """Whether the unit is ready and stays: one that is here by chance, beyond the window, may be evicted."""
        if self.is_streaming and unit not in self.claim.units and unit not in self._held:
            return False
        if self.gathers and unit is self.units[0] and self.holds_rows:
            return True
        if self.gathers and unit is self.units[-1] and not self._owner.front.is_ready(self.units[0]):
            return False  # tied: the last unit computes with the first one's matrix
        return self._owner.front.is_ready(unit)

    def _ahead(self) -> list[Unit]:
        held = {unit.hash for unit in self.claim.units}
        passing: list[Unit] = []
        free = self.claim.window_bytes
        for unit in (*self.units[self._at :], *self.units[: self._at]):
            if unit.hash not in held:
                free -= unit.size_bytes
                if free < 0:
                    break
                passing.append(unit)
        return passing

    def close(self) -> None:
        if self.is_open:
            self.is_open = False
            self._owner.release(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
