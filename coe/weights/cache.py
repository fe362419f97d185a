"""The three-tier weight cache: leases experts and keeps their units coming, disk -> host -> device.

Owned by the engine thread, which alone calls it; transfer threads only post `Arrived` events that the owner hands
back through `on_arrived`, and a transfer that cannot even begin ends the same way. What may be evicted is the
residency table's decision (`residency.Pool`); this module acts. On a CPU there is one tier above the disk, and the
host bytes themselves are what the engine computes with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch

from coe.errors import WeightsError
from coe.types import Tier, UnitStatus
from coe.weights.bandwidth import Bandwidth
from coe.weights.lease import Bind, Lease
from coe.weights.memory.allocation import Memory, SystemMemory
from coe.weights.memory.arena import Arena
from coe.weights.memory.device import CopyDevice
from coe.weights.memory.frames import Frames
from coe.weights.memory.unit_location import UnitLocations
from coe.weights.popularity import Popularity
from coe.weights.residency import Pool
from coe.weights.tier import Incoming, TierMemory
from coe.weights.transfer import Arrived, DiskReader, UnitSource
from coe.weights.unit import Manifest, Unit

__all__ = ["ExpertFailure", "ExpertResidency", "WeightCache", "check_fits"]

MAX_READS = 4  # units in flight from the disk: enough to keep it busy, few enough that a leader arrives first
MAX_PREFETCHES = 2  # so few that a lease that comes now waits for little


class ExpertFailure(NamedTuple):
    expert: str
    error: WeightsError


class ExpertResidency(NamedTuple):
    """Where an expert's bytes are and what it has cost so far. `is_streaming`: it never fits on the device."""

    tier: Tier
    size_bytes: int
    shared_bytes: int
    host_bytes: int
    device_bytes: int
    is_pinned: bool
    is_streaming: bool
    num_leases: int
    num_loads: int
    loaded_bytes: int
    load_s: float


@dataclass(slots=True)
class _Moved:
    """What has been moved for one expert since start."""

    num_loads: int = 0
    loaded_bytes: int = 0
    load_s: float = 0.0


class _Expected(NamedTuple):
    """For whom room is made without a lease: these experts keep their units, and so does what is worth as much."""

    expert: str
    spared: tuple[str, ...]


def check_fits(
    expert: str, manifest: Manifest, *, host_bytes: int, device_bytes: int, is_streamable: bool = False
) -> None:
    """Raise WeightsError if the expert can never run: too large, or one of its units never passes the host."""
    pool = Pool(device_bytes)
    pool.register(expert, manifest.units, is_streamable=is_streamable)
    if not pool.can_lease(expert):
        why = (
            "even one unit at a time its weights do not pass through"
            if is_streamable
            else "its architecture runs whole (transformers' modules), so it cannot stream through"
        )
        raise WeightsError(
            expert,
            f"its weights take {manifest.size_bytes:,} bytes and the budget for weights is {device_bytes:,}; {why}: "
            "raise [cache] device_bytes (CPU: host_bytes) or take a smaller dtype",
        )
    largest = max(manifest.units, key=lambda unit: unit.size_bytes)
    if largest.size_bytes > host_bytes:
        raise WeightsError(
            expert,
            f"its unit '{largest.name}' takes {largest.size_bytes:,} bytes and the host has {host_bytes:,} to pass it "
            "through; raise [cache] host_bytes",
        )


class WeightCache:
    """Units in host and device memory under byte budgets; see the module docstring.

    `host_memory`, of `host_bytes`, is pinned where there is a GPU; by default it is the system's.
    """

    def __init__(
        self,
        source: UnitSource,
        *,
        host_bytes: int,
        device: CopyDevice | None,
        device_bytes: int,
        post: Callable[[Arrived], None],
        host_memory: Memory | None = None,
        eviction: str = "value",
    ) -> None:
        self._popularity = Popularity()
        judge = self._popularity if eviction == "value" else None
        self.host = Pool(host_bytes, judge, lambda _: 1.0 / self._disk.bytes_per_s)
        self.device = Pool(device_bytes, judge, self._back_on_device_s) if device is not None else None
        self._host = TierMemory(self.host, Frames(Arena(host_memory or SystemMemory(host_bytes))))
        self._copy_device = device
        self._device = None
        if device is not None and self.device is not None:
            self._device = TierMemory(self.device, Frames(device.arena, UnitLocations(device.recut), device.retire))
        self._reader = DiskReader(source, post)
        self._copier = device.copier(post) if device is not None else None
        self._units: dict[str, Unit] = {}
        self._experts: dict[str, tuple[Unit, ...]] = {}
        self._moved: dict[str, _Moved] = {}
        self._leases: list[Lease] = []
        self._gathering: set[str] = set()  # experts whose first unit can run from its host bytes
        self._whole: set[str] = set()  # experts whose steps begin when all units are here
        self._wishes: tuple[str, ...] = ()  # experts to prefetch, the next one first
        self._num_moving = {Tier.HOST: 0, Tier.DEVICE: 0}  # transfers under way, by where they go
        self._disk = Bandwidth(1e9)
        self._copy_link = Bandwidth(8e9)

    # -- what the engine asks

    @property
    def front(self) -> Pool:
        """The tier that the engine computes from."""
        return self.device if self.device is not None else self.host

    def register(self, expert: str, manifest: Manifest, *, is_streamable: bool = False) -> None:
        """Make an expert known; raises WeightsError if it can never run."""
        check_fits(
            expert,
            manifest,
            host_bytes=self.host.budget_bytes,
            device_bytes=self.front.budget_bytes,
            is_streamable=is_streamable,
        )
        self._experts[expert] = manifest.units
        if not is_streamable:
            self._whole.add(expert)
        elif len(manifest.units) > 1:
            self._gathering.add(expert)
        self._moved[expert] = _Moved()
        self._units.update({unit.hash: unit for unit in manifest.units})
        for pool in self._pools():
            pool.register(expert, manifest.units, is_streamable=is_streamable)

    def size_of(self, unit_hash: str) -> int:
        return self._units[unit_hash].size_bytes

    def asked(self, expert: str) -> None:
        """Somebody wants an answer of this expert: what it is worth grows."""
        self._popularity.asked(expert)

    def touch(self, expert: str, now_s: float) -> None:
        for pool in self._pools():
            pool.touch(expert, now_s)

    def expect(self, experts: Sequence[str]) -> None:
        """Name the experts that will be leased next, in this order; others are expected no more.

        They move closer when no lease needs the copy link, and only into room that nothing worth more fills.
        """
        if tuple(experts) != self._wishes:
            self._wishes = tuple(experts)
            self._popularity.expect(experts)
            self.pump()

    def load_s(self, expert: str) -> float:
        """Seconds that a lease of the expert would take to be whole, at the speeds measured so far."""
        disk_bytes = self.host.missing_bytes(expert)
        if self.device is None:
            return disk_bytes / self._disk.bytes_per_s
        copied_bytes = self.device.missing_bytes(expert)
        return max(min(disk_bytes, copied_bytes) / self._disk.bytes_per_s, copied_bytes / self._copy_link.bytes_per_s)

    def lease(self, expert: str) -> Lease:
        """Take the right to run an expert that can be leased; absent units start moving at once, in execution order."""
        lease = Lease(expert, self._experts[expert], self.front.lease(expert), self)
        lease.runs_whole = expert in self._whole
        lease.gathers = self.device is not None and expert in self._gathering and not lease.is_streaming
        lease.open_window()
        self._leases.append(lease)
        self.pump()
        return lease

    def release(self, lease: Lease) -> None:
        """Called by `Lease.close`: the units may be evicted again; loads that have not begun never will."""
        self._leases.remove(lease)
        lease.close_window()
        self._let_rows_go(lease)
        self.front.unlease(lease.expert, lease.claim)
        self._book(lease)
        self.pump()

    def payload(self, expert: str, unit: Unit, bind: Bind) -> object:
        """Return what `bind(unit, flat bytes)` made of a ready unit, made once per residency and expert."""
        frame = self._front.frames[unit.hash]
        payload = frame.payloads.get(expert)
        if payload is None:
            payload = frame.payloads[expert] = bind(unit, frame.bytes)
        return payload

    def host_payload(self, unit: Unit, bind: Bind) -> object:
        """Return what `bind` makes of a unit's host bytes, for a step that takes a few rows of them."""
        return bind(unit, self._host.frames[unit.hash].bytes)

    def on_arrived(self, event: Arrived) -> list[ExpertFailure]:
        """Book a transfer that ended; returns the experts that cannot run because it failed."""
        unit = self._units[event.unit_hash]
        self._num_moving[event.tier] -= 1
        if event.tier is Tier.DEVICE:
            self.host.unhold(unit)
        failures = self._commit(unit, event)
        if not failures:  # else the owner closes the failed leases, and that pumps
            self.pump()
        return failures

    def pump(self) -> None:
        """Start every transfer that the open leases need and the budgets allow, then what is expected next."""
        for lease in self._leases:
            if not lease.is_failed:
                self._drive(lease)
        if self._is_idle():
            all(self._prefetch(expert, self._wishes[: rank + 1]) for rank, expert in enumerate(self._wishes))

    # -- the operator's wishes

    def pin(self, expert: str) -> None:
        """Keep an expert on the device once it is there; raises WeightsError if the pins could not fit together.

        Not in the host tier: a smaller one, filled with pins, would let nothing else through.
        """
        if self.front.is_larger(expert):
            raise WeightsError(expert, "it is larger than the budget and streams in every step: it cannot be pinned")
        if not self.front.can_lease(expert):
            raise WeightsError(expert, "pinning it would leave no room for what is pinned or running; unpin another")
        self.front.pin(expert)

    def unpin(self, expert: str) -> None:
        self.front.unpin(expert)

    def unload(self, expert: str, *, keeps_host: bool = False) -> int:
        """Free what only this expert uses and nobody leases or pins; returns bytes freed.

        `keeps_host` frees device copies only, where there is a device with memory of its own.
        """
        freed = 0
        for tier in self._tiers():
            if tier is not self._host or not keeps_host:
                digests = tier.pool.evictable_of(expert)
                freed += sum(self._units[digest].size_bytes for digest in digests)
                tier.evict(digests)
        self.pump()
        return freed

    def residency(self, expert: str) -> ExpertResidency:
        host_bytes = self.host.resident_bytes(expert)
        device_bytes = self.front.resident_bytes(expert)
        missing = self.front.missing_bytes(expert)
        moved = self._moved[expert]
        size_bytes = device_bytes + missing
        tier = Tier.DEVICE if not missing else Tier.HOST if host_bytes == size_bytes else Tier.DISK
        return ExpertResidency(
            tier,
            size_bytes,
            self.front.shared_bytes(expert),
            host_bytes,
            device_bytes,
            self.front.is_pinned(expert),
            self.front.is_larger(expert),
            sum(lease.expert == expert for lease in list(self._leases)),
            moved.num_loads,
            moved.loaded_bytes,
            moved.load_s,
        )

    def unit_statuses(self, expert: str) -> tuple[UnitStatus, ...]:
        """Where each unit of an expert is, in execution order."""
        return tuple(
            UnitStatus(unit.name, self._tier_of(unit), unit.size_bytes, self.front.is_shared(unit))
            for unit in self._experts[expert]
        )

    def _tier_of(self, unit: Unit) -> Tier:
        if self.front.is_ready(unit):
            return Tier.DEVICE
        return Tier.HOST if self.host.is_ready(unit) else Tier.DISK

    def close(self) -> None:
        """Wait for transfers under way and give all memory back."""
        self._reader.close()
        if self._copier is not None:
            self._copier.close()
        for tier in self._tiers():
            tier.frames.close()

    # -- memory back to the system

    @property
    def give_back_due_s(self) -> float | None:
        """When `give_back` has something to do, in monotonic seconds."""
        return min((due for tier in self._tiers() if (due := tier.frames.arena.due_s) is not None), default=None)

    def give_back(self) -> None:
        """Give memory that has been free for long to the system."""
        for tier in self._tiers():
            tier.frames.arena.give_back()

    # -- how units move

    def _drive(self, lease: Lease) -> None:
        """Start what a lease needs, in execution order; over a copy link the embedding goes last, after the layers."""
        first = lease.units[0]
        if not lease.gathers or not self._keeps_rows(lease):
            all(self._advance(unit) for unit in lease.wanted())
            return
        assert self.device is not None
        rest = [unit for unit in lease.units if unit.hash != first.hash]
        is_stuck = not all(self._advance(unit) for unit in rest)
        is_last = not any(self.device.is_absent(unit) for unit in rest)
        if is_last or (is_stuck and not any(self._num_moving.values())):  # else the host could fill up with it
            self._advance(first)

    def _keeps_rows(self, lease: Lease) -> bool:
        """Whether the lease can run its first unit from the host; holds those bytes until they have travelled."""
        assert self.device is not None
        first = lease.units[0]
        if self.device.is_ready(first):
            self._let_rows_go(lease)
        elif not lease.holds_rows and self.host.is_ready(first):
            lease.holds_rows = True
            self.host.hold(first)
        return lease.holds_rows

    def _let_rows_go(self, lease: Lease) -> None:
        if lease.holds_rows:
            lease.holds_rows = False
            self.host.unhold(lease.units[0])

    def _advance(self, unit: Unit, expected: _Expected | None = None) -> bool:
        """Take a unit one tier closer; False when there is no room or no free reader now."""
        if self.device is None or self.device.is_absent(unit):
            if self.host.is_ready(unit):
                return self.device is None or self._start_copy(unit, expected)
            if self.host.is_absent(unit):
                return self._start_read(unit, expected)
        return True

    def _start_read(self, unit: Unit, expected: _Expected | None) -> bool:
        is_free = self._num_moving[Tier.HOST] < MAX_READS
        frame = self._reserve(self._host, unit, expected) if is_free else None
        if frame is None:
            return False
        self._num_moving[Tier.HOST] += 1
        self._reader.read(unit, frame)
        return True

    def _start_copy(self, unit: Unit, expected: _Expected | None) -> bool:
        assert self._device is not None
        assert self._copier is not None
        frame = self._reserve(self._device, unit, expected)
        if frame is None:
            return False
        self.host.hold(unit)  # the source stays until the copy has ended
        self._num_moving[Tier.DEVICE] += 1
        self._copier.copy(unit.hash, self._host.frames[unit.hash].bytes, frame)
        return True

    def _prefetch(self, expert: str, spared: tuple[str, ...]) -> bool:
        """Take an expected expert's units closer while few are under way; never for the price of one worth more.

        False when there is no room or enough is moving: those expected later have to wait.
        """
        if self.front.is_larger(expert):
            return True
        expected, units = _Expected(expert, spared), self._experts[expert]
        if self.device is not None and expert in self._gathering and self.host.is_ready(units[0]):
            units = (*units[1:], units[0])  # as a lease will have it: the embedding goes last over the copy link
        return all(sum(self._num_moving.values()) < MAX_PREFETCHES and self._advance(unit, expected) for unit in units)

    def _reserve(self, tier: TierMemory, unit: Unit, expected: _Expected | None) -> torch.Tensor | None:
        """Book a unit of a lease, or of an expected expert, and return memory for it; None if there is none now."""
        if expected is None:
            wanted = {
                unit.hash: unit for lease in self._leases for unit in lease.claim.units if tier.pool.is_absent(unit)
            }
            incoming = Incoming(unit, sum(each.size_bytes for each in wanted.values()))
        else:
            incoming = Incoming(unit, tier.pool.missing_bytes(expected.expert), expected.spared, is_leased=False)
        return tier.reserve(incoming, partial(self._is_movable, tier))

    def _is_movable(self, tier: TierMemory, digest: str) -> bool:
        """Whether nothing writes or copies a unit's bytes."""
        unit = self._units[digest]
        is_source = tier is self._host and self.device is not None and self.device.is_moving(unit)
        return tier.pool.is_ready(unit) and not is_source

    def _is_idle(self) -> bool:
        """Whether no open lease waits for bytes."""
        return all(lease.is_failed or (lease.is_ready and not lease.is_streaming) for lease in self._leases)

    def _back_on_device_s(self, digest: str) -> float:
        """Seconds per byte until a unit would be on the device again."""
        copy_s = 1.0 / self._copy_link.bytes_per_s
        return copy_s if self.host.is_ready(self._units[digest]) else max(copy_s, 1.0 / self._disk.bytes_per_s)

    def _commit(self, unit: Unit, event: Arrived) -> list[ExpertFailure]:
        is_read = event.tier is Tier.HOST
        if event.error is not None:
            return self._fail(unit, event)
        (self.host if is_read else self.front).commit(unit)
        if not is_read and self._copy_device is not None:
            self._copy_device.join(self._front.frames[unit.hash].bytes)
        link = self._disk if is_read else self._copy_link
        busy_s = link.note(unit.size_bytes, event.started_s, event.ended_s)
        for lease in self._waiting_for(unit):
            lease.note(unit, event, busy_s)
        return []

    def _fail(self, unit: Unit, event: Arrived) -> list[ExpertFailure]:
        """Nothing of a transfer that failed stays, and whoever waited for it cannot run."""
        (self._host if event.tier is Tier.HOST else self._front).evict([unit.hash])
        self._wishes = tuple(expert for expert in self._wishes if not self._uses(expert, unit))  # else tried for ever
        failures = []
        for lease in self._waiting_for(unit):
            lease.is_failed = True
            error = WeightsError(lease.expert, f"unit '{unit.name}' cannot be loaded: {event.error}")
            failures.append(ExpertFailure(lease.expert, error))
        return failures

    def _waiting_for(self, unit: Unit) -> Iterator[Lease]:
        return (lease for lease in self._leases if self._uses(lease.expert, unit))

    def _uses(self, expert: str, unit: Unit) -> bool:
        return any(own.hash == unit.hash for own in self._experts[expert])

    def _book(self, lease: Lease) -> None:
        if lease.loaded_bytes:
            moved = self._moved[lease.expert]
            moved.num_loads += 1
            moved.loaded_bytes += lease.loaded_bytes
            moved.load_s += lease.load_s

    def _pools(self) -> tuple[Pool, ...]:
        return tuple(tier.pool for tier in self._tiers())

    def _tiers(self) -> tuple[TierMemory, ...]:
        """The nearest to the engine first: device copies go before their masters."""
        return (self._host,) if self._device is None else (self._device, self._host)

    @property
    def _front(self) -> TierMemory:
        return self._tiers()[0]

    # -- proof

    def check_integrity(self) -> None:
        """Raise AssertionError if books, frames and leases disagree."""
        for tier in self._tiers():
            tier.check_integrity()
        assert all(count >= 0 for count in self._num_moving.values())
        for lease in self._leases:
            assert lease.is_open
            assert all(unit.hash in self.front.leased_or_pinned() for unit in lease.claim.units)
