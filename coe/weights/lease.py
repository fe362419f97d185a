"""The right to run an expert: which of its units a step may run now, and what its load has cost.

Owned by the engine thread. A lease of an expert that fits keeps all its units. A lease of a larger one keeps its
leading units and streams the others through a window. Knows nothing about how bytes move: `open_leases.py` loads what
leases need.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from coe.types import SwitchKind, Tier
from coe.weights.host_rows import HostRows
from coe.weights.memory.frames import Bind
from coe.weights.residency.claims import Claim
from coe.weights.tier import TierMemory
from coe.weights.transfer import Arrived
from coe.weights.unit import Unit
from coe.weights.window import StreamingWindow

__all__ = ["Lease", "LoadCost"]


@dataclass(slots=True)
class LoadCost:
    """What was moved while a lease waited."""

    disk_bytes: int = 0
    copied_bytes: int = 0  # host -> device
    load_s: float = 0.0  # seconds in which these bytes were moving
    evicted_bytes: int = 0  # left for them
    evict_s: float = 0.0
    ended_s: float | None = None  # when the last of them arrived

    @property
    def kind(self) -> SwitchKind:
        if self.disk_bytes:
            return SwitchKind.DISK_MISS
        return SwitchKind.HOST_HIT if self.copied_bytes else SwitchKind.DEVICE_HIT

    @property
    def loaded_bytes(self) -> int:
        """Bytes that crossed the slowest link that was needed."""
        return self.disk_bytes or self.copied_bytes

    def add(self, event: Arrived, busy_s: float) -> None:
        """Add a transfer that has ended; `busy_s` are the seconds of it in which no earlier one was moving."""
        if event.tier is Tier.HOST:
            self.disk_bytes += event.size_bytes
        else:
            self.copied_bytes += event.size_bytes
        self.load_s += busy_s
        self.ended_s = event.ended_s


class Lease:
    """Units that an open lease claims may not leave the tier it runs in. Use as a context manager.

    `tier` is the one that the engine computes from. `runs_whole`: a step takes all units at once, because the model
    cannot pause between two. `window` is for an expert that is larger than the tier, `host_rows` for one whose first
    unit may run from host memory. `is_failed`: a unit cannot be loaded, and nothing more is tried.
    """

    def __init__(
        self,
        expert: str,
        units: tuple[Unit, ...],
        claim: Claim,
        tier: TierMemory,
        *,
        runs_whole: bool,
        window: StreamingWindow | None,
        host_rows: HostRows | None,
        on_move: Callable[[], None],
        on_close: Callable[[Lease], None],
    ) -> None:
        self.expert, self.units, self.claim = expert, units, claim
        self.window, self.host_rows = window, host_rows
        self.cost = LoadCost()
        self.is_open = True
        self.is_failed = False
        self.has_run = False  # a step has begun under it
        self._tier, self._runs_whole = tier, runs_whole
        self._on_move, self._on_close = on_move, on_close
        self._num_ready = 0  # all units from the step's position up to here are ready

    @property
    def is_streaming(self) -> bool:
        """Whether the expert is larger than the tier it runs in."""
        return self.window is not None

    @property
    def is_ready(self) -> bool:
        """Whether all that the lease claims is here."""
        return self.num_ready() >= len(self.claim.units)

    @property
    def is_whole(self) -> bool:
        """Whether every unit of the expert is in the tier, the first one too, and stays."""
        return self.is_ready and not self.is_streaming and not self._runs_from_host

    @property
    def wanted(self) -> Sequence[Unit]:
        """Units to bring here, the most urgent first."""
        if self.window is not None:
            return (*self.claim.units, *self.window.units)
        return self.units[self.num_ready() :]

    def num_ready(self) -> int:
        """Return how many leading units the step under way may run, or has run."""
        while self._num_ready < len(self.units) and self._may_run(self.units[self._num_ready]):
            self._num_ready += 1
        return 0 if self._runs_whole and self._num_ready < len(self.units) else self._num_ready

    def payload(self, index: int, bind: Bind) -> object:
        """Return what `bind` made of a ready unit.

        A step asks for its units in order, and for the first one again at the end. The payload is good until the step
        pauses: units may be moved then, and are bound anew.
        """
        if self.window is not None and index not in (0, self.window.position):
            self._move_to(self.window, index)
        if index == 0 and self.host_rows is not None and self.host_rows.are_held:
            return self.host_rows.payload(bind)
        return self._tier.frames.payload(self.expert, self.units[index], bind)

    def rewind(self) -> None:
        """End the step: the next one begins at the first unit."""
        if self.window is not None and self.window.position:
            self._num_ready = 0
            self._move_to(self.window, 0)

    def close(self) -> None:
        """Give the lease back: its units may be evicted, and loads for it that have not begun never will."""
        if self.is_open:
            self.is_open = False
            self._on_close(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _runs_from_host(self) -> bool:
        """Whether a step runs the first unit from its host bytes now."""
        return self.host_rows is not None and self.host_rows.are_held

    def _move_to(self, window: StreamingWindow, index: int) -> None:
        window.move_to(index)
        self._on_move()

    def _may_run(self, unit: Unit) -> bool:
        """Whether the unit is ready and stays: one that is here by chance, beyond the window, may be evicted."""
        residents = self._tier.books.residents
        if self.window is not None and not self.window.keeps(unit):
            return False
        if self.host_rows is not None:
            if unit is self.units[0] and self.host_rows.are_held:
                return True
            if unit is self.units[-1] and not residents.is_ready(self.units[0]):
                return False  # the last unit computes with the first one's matrix, where the two are tied
        return residents.is_ready(unit)
