"""The open leases: loads what they need, tells them what has arrived, and fails those that cannot be loaded.

Owned by the engine thread. Decides in which order the units of a lease are loaded; the loader moves them. Knows nothing
about what is loaded without a lease.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from coe.errors import WeightsError
from coe.weights.host_rows import HostRows
from coe.weights.lease import Lease
from coe.weights.loader import Loader
from coe.weights.residency.tier_books import TierBooks
from coe.weights.residency.unit_index import UnitIndex, total_bytes
from coe.weights.room import RoomLedger
from coe.weights.tier import Incoming, TierMemory
from coe.weights.transfer import Arrived
from coe.weights.unit import Unit
from coe.weights.window import StreamingWindow

__all__ = ["ExpertFailure", "OpenLeases"]


class ExpertFailure(NamedTuple):
    """An expert whose lease cannot be loaded."""

    expert: str
    error: WeightsError


class OpenLeases:
    """`on_move` is called when a lease's window has moved, `on_close` when a lease has been given back."""

    def __init__(
        self,
        units: UnitIndex,
        host: TierMemory,
        device: TierMemory | None,
        loader: Loader,
        room: RoomLedger,
        *,
        on_move: Callable[[], None],
        on_close: Callable[[Lease], None],
    ) -> None:
        self._units, self._host, self._device, self._loader = units, host, device, loader
        self._room = room
        self._tier = host if device is None else device
        self._on_move, self._on_close = on_move, on_close
        self._leases: list[Lease] = []

    def open(self, expert: str) -> Lease:
        """Take a lease, for which there must be room; nothing is loaded yet."""
        units, claims = self._units.of(expert), self._tier.books.claims
        claim = claims.lease(expert)
        is_streaming = len(claim.units) < len(units)
        lease = Lease(
            expert,
            units,
            claim,
            self._tier,
            runs_whole=not self._units.is_streamable(expert),
            window=StreamingWindow(units, claim, claims) if is_streaming else None,
            host_rows=None if is_streaming else self._host_rows(expert),
            on_move=self._on_move,
            on_close=self._close,
        )
        self._leases.append(lease)
        return lease

    def load(self) -> None:
        """Start every transfer that the leases need and the budgets allow."""
        for lease in self._leases:
            if not lease.is_failed:
                with self._room.made_for(lease.expert):
                    self._load(lease)
                self._room.charge(lease.expert, lease.cost)

    @property
    def are_waiting(self) -> bool:
        """Whether a lease waits for bytes, or will soon, because its expert streams."""
        return not all(lease.is_failed or (lease.is_ready and not lease.is_streaming) for lease in self._leases)

    def num_open(self, expert: str) -> int:
        """Return how many leases of the expert are open. Any thread."""
        return sum(lease.expert == expert for lease in list(self._leases))

    def add_cost(self, event: Arrived, busy_s: float) -> None:
        """Add a transfer that has ended to the cost of the leases that waited for it."""
        for lease in self._waiting_for(event.unit_hash):
            lease.cost.add(event, busy_s)

    def fail(self, unit: Unit, error: BaseException) -> list[ExpertFailure]:
        """Mark the leases that cannot run because the unit could not be loaded; the owner closes them."""
        failures = []
        for lease in self._waiting_for(unit.hash):
            lease.is_failed = True
            message = f"unit '{unit.name}' cannot be loaded: {str(error) or repr(error)}"
            failures.append(ExpertFailure(lease.expert, WeightsError(lease.expert, message)))
        return failures

    def _load(self, lease: Lease) -> None:
        """Load a lease's units in execution order, but the first one last if it can run from its host bytes."""
        rows = lease.host_rows
        if rows is None or not rows.update():
            self._advance(lease.wanted)
            return
        rest = [unit for unit in lease.units if unit.hash != rows.unit.hash]
        is_stuck = not self._advance(rest)
        is_last = not any(self._tier.books.residents.is_absent(unit) for unit in rest)
        if is_last or (is_stuck and not self._loader.is_busy):  # else the host could fill up with it
            self._advance([rows.unit])

    def _advance(self, units: Iterable[Unit]) -> bool:
        """Take units one tier closer, up to the first that has to wait for room; returns whether none has to."""
        return all(self._loader.advance(unit, self._incoming) for unit in units)

    def _incoming(self, unit: Unit, books: TierBooks) -> Incoming:
        """Describe a unit that comes for a lease; all that leases lack in the tier will follow it."""
        claimed = (unit for lease in self._leases for unit in lease.claim.units)
        return Incoming(unit, total_bytes(unit for unit in claimed if books.residents.is_absent(unit)))

    def _waiting_for(self, unit_hash: str) -> Iterator[Lease]:
        return (lease for lease in self._leases if self._units.is_used_by(unit_hash, (lease.expert,)))

    def _host_rows(self, expert: str) -> HostRows | None:
        units = self._units.of(expert)
        if self._device is None or not self._units.is_streamable(expert) or len(units) == 1:
            return None
        return HostRows(units[0], self._host, self._device)

    def _close(self, lease: Lease) -> None:
        self._leases.remove(lease)
        if lease.window is not None:
            lease.window.close()
        if lease.host_rows is not None:
            lease.host_rows.let_go()
        self._tier.books.claims.unlease(lease.expert, lease.claim)
        self._on_close(lease)

    def check_integrity(self) -> None:
        """Raise AssertionError if a lease is closed, or its units may be evicted."""
        kept = self._tier.books.claims.leased_or_pinned()
        for lease in self._leases:
            assert lease.is_open
            assert all(unit.hash in kept for unit in lease.claim.units)
