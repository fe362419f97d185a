"""The three-tier weight cache: leases experts and keeps their units coming, disk -> host -> device.

Owned by the engine thread, which alone calls it; transfer threads only post `Arrived` events that the owner hands
back through `on_arrived`. What may be evicted is the residency table's decision (`residency.Pool`); this module acts.
On a CPU there is one tier above the disk, and the host bytes themselves are what the engine computes with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import torch

from coe.errors import WeightsError
from coe.types import SwitchKind, Tier
from coe.weights.device import CopyDevice
from coe.weights.memory import Arena
from coe.weights.residency import Pool
from coe.weights.transfer import Arrived, DeviceCopier, DiskReader
from coe.weights.unit import Manifest, Unit

__all__ = ["ExpertFailure", "ExpertResidency", "Lease", "WeightCache", "check_fits"]

MAX_READS = 4  # units in flight from the disk: enough to keep it busy, few enough that a leader arrives first


class ExpertFailure(NamedTuple):
    expert: str
    error: WeightsError


class ExpertResidency(NamedTuple):
    """Where an expert's bytes are and what it has cost so far."""

    tier: Tier
    size_bytes: int
    shared_bytes: int
    host_bytes: int
    device_bytes: int
    is_pinned: bool
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


@dataclass(slots=True, eq=False)
class Lease:
    """The right to run an expert: its units may not leave the device while it is open. Use as a context manager."""

    expert: str
    units: tuple[Unit, ...]
    _cache: WeightCache
    disk_bytes: int = 0
    wire_bytes: int = 0  # host -> device
    started_s: float | None = None  # when the first byte of it began to move
    ended_s: float | None = None
    is_open: bool = True
    is_failed: bool = False  # a unit of it cannot be loaded; nothing more is tried
    _next: int = 0  # all units before this one are ready

    @property
    def kind(self) -> SwitchKind:
        if self.disk_bytes:
            return SwitchKind.DISK_MISS
        return SwitchKind.HOST_HIT if self.wire_bytes else SwitchKind.DEVICE_HIT

    @property
    def loaded_bytes(self) -> int:
        """Bytes that crossed the slowest tier this lease needed."""
        return self.disk_bytes or self.wire_bytes

    @property
    def load_s(self) -> float:
        """Seconds between the first byte's departure and the last one's arrival."""
        if self.started_s is None or self.ended_s is None:
            return 0.0
        return self.ended_s - self.started_s

    def num_ready(self) -> int:
        """How many leading units are ready to compute with."""
        while self._next < len(self.units) and self._cache.front.is_ready(self.units[self._next]):
            self._next += 1
        return self._next

    @property
    def is_ready(self) -> bool:
        return self.num_ready() == len(self.units)

    def close(self) -> None:
        if self.is_open:
            self.is_open = False
            self._cache.release(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def note(self, unit: Unit, event: Arrived) -> None:
        """Book a transfer that this lease waited for."""
        if event.tier is Tier.HOST:
            self.disk_bytes += unit.size_bytes
        else:
            self.wire_bytes += unit.size_bytes
        self.started_s = event.started_s if self.started_s is None else min(self.started_s, event.started_s)
        self.ended_s = event.ended_s


@dataclass(slots=True)
class _Frame:
    """A unit's bytes in one tier, and what the engine has bound to them per expert."""

    bytes: torch.Tensor
    payloads: dict[str, object] = field(default_factory=dict)


def check_fits(expert: str, manifest: Manifest, *, host_bytes: int, device_bytes: int) -> None:
    """Raise WeightsError if the expert can never be whole on the device, or one of its units never pass the host."""
    if manifest.size_bytes > device_bytes:
        raise WeightsError(
            expert,
            f"its weights take {manifest.size_bytes:,} bytes and the budget for weights is {device_bytes:,}; "
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
    """Units in host and device memory under byte budgets; see the module docstring."""

    def __init__(
        self,
        path_of: Callable[[Unit], Path],
        *,
        host_bytes: int,
        device: CopyDevice | None,
        device_bytes: int,
        post: Callable[[Arrived], None],
        pin_host: bool = False,
    ) -> None:
        self._path_of = path_of
        self.host = Pool(host_bytes)
        self.device = Pool(device_bytes) if device is not None else None
        self._host_arena = Arena(host_bytes, is_pinned=pin_host)
        self._copy_device = device
        self._reader = DiskReader(post)
        self._copier = DeviceCopier(post, device.copy) if device is not None else None
        self._host_frames: dict[str, _Frame] = {}
        self._device_frames: dict[str, _Frame] = {}
        self._units: dict[str, Unit] = {}
        self._experts: dict[str, tuple[Unit, ...]] = {}
        self._moved: dict[str, _Moved] = {}
        self._leases: list[Lease] = []
        self._num_reads = 0
        self.bytes_per_s = 1e9  # of the last expert that came from the disk; a guess before the first

    # -- what the engine asks

    @property
    def front(self) -> Pool:
        """The tier that the engine computes from."""
        return self.device if self.device is not None else self.host

    def register(self, expert: str, manifest: Manifest) -> None:
        """Make an expert known; raises WeightsError if it can never fit."""
        check_fits(expert, manifest, host_bytes=self.host.budget_bytes, device_bytes=self.front.budget_bytes)
        self._experts[expert] = manifest.units
        self._moved[expert] = _Moved()
        self._units.update({unit.hash: unit for unit in manifest.units})
        for pool in self._pools():
            pool.register(expert, manifest.units)

    def size_of(self, unit_hash: str) -> int:
        return self._units[unit_hash].size_bytes

    def touch(self, expert: str, now_s: float) -> None:
        for pool in self._pools():
            pool.touch(expert, now_s)

    def lease(self, expert: str) -> Lease:
        """Take the right to run an expert; absent units start moving at once, in execution order."""
        lease = Lease(expert, self._experts[expert], self)
        self.front.lease(lease.units)
        self._leases.append(lease)
        self.pump()
        return lease

    def release(self, lease: Lease) -> None:
        """Called by `Lease.close`: the units may be evicted again; loads that have not begun never will."""
        self._leases.remove(lease)
        self.front.unlease(lease.units)
        self._book(lease)
        self.pump()

    def payload(self, expert: str, unit: Unit, bind: Callable[[Unit, torch.Tensor], object]) -> object:
        """Return what `bind(unit, flat bytes)` made of a ready unit, made once per residency and expert."""
        frame = self._front_frames()[unit.hash]
        payload = frame.payloads.get(expert)
        if payload is None:
            payload = frame.payloads[expert] = bind(unit, frame.bytes)
        return payload

    def on_arrived(self, event: Arrived) -> list[ExpertFailure]:
        """Book a transfer that ended; returns the experts that cannot run because it failed."""
        unit = self._units[event.unit_hash]
        is_read = event.tier is Tier.HOST
        if is_read:
            self._num_reads -= 1
        elif self.device is not None:
            self.host.unlease([unit])
        failures = self._commit(unit, event)
        if not failures:  # else the owner closes the failed leases, and that pumps
            self.pump()
        return failures

    def pump(self) -> None:
        """Start every transfer that the open leases need and the budgets allow."""
        for lease in self._leases:
            if not lease.is_failed:
                all(self._advance(unit) for unit in lease.units[lease.num_ready() :])

    # -- the operator's wishes

    def pin(self, expert: str) -> None:
        """Keep an expert on the device once it is there; raises WeightsError if the pins could not fit together.

        Not in the host tier: a smaller one, filled with pins, would let nothing else through.
        """
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
        if self.device is not None:
            for digest in self.device.evictable_of(expert):
                freed += self._units[digest].size_bytes
                self._evict_device(digest)
        if not keeps_host:
            for digest in self.host.evictable_of(expert):
                freed += self._units[digest].size_bytes
                self._evict_host(digest)
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
            sum(lease.expert == expert for lease in list(self._leases)),
            moved.num_loads,
            moved.loaded_bytes,
            moved.load_s,
        )

    def close(self) -> None:
        """Wait for transfers under way and give all memory back."""
        self._reader.close()
        if self._copier is not None:
            self._copier.close()
        self._host_frames.clear()
        self._device_frames.clear()
        self._host_arena.close()
        if self._copy_device is not None:
            self._copy_device.close()

    # -- how units move

    def _advance(self, unit: Unit) -> bool:
        """Take a unit one tier closer; False when there is no room or no free reader now."""
        if self.device is None or self.device.is_absent(unit):
            if self.host.is_ready(unit):
                return self.device is None or self._start_copy(unit)
            if self.host.is_absent(unit):
                return self._start_read(unit)
        return True

    def _start_read(self, unit: Unit) -> bool:
        if self._num_reads >= MAX_READS or not self._make_room(self.host, unit.size_bytes, self._evict_host):
            return False
        self.host.reserve(unit)
        frame = self._host_frames[unit.hash] = _Frame(self._host_arena.allocate(unit.size_bytes))
        self._num_reads += 1
        self._reader.read(unit.hash, self._path_of(unit), frame.bytes)
        return True

    def _start_copy(self, unit: Unit) -> bool:
        assert self.device is not None
        assert self._copy_device is not None
        assert self._copier is not None
        if not self._make_room(self.device, unit.size_bytes, self._evict_device):
            return False
        self.device.reserve(unit)
        self.host.lease([unit])  # the source stays until the copy has ended
        frame = self._device_frames[unit.hash] = _Frame(self._copy_device.allocate(unit.size_bytes))
        self._copier.copy(unit.hash, self._host_frames[unit.hash].bytes, frame.bytes)
        return True

    def _make_room(self, pool: Pool, size_bytes: int, evict: Callable[[str], None]) -> bool:
        victims = pool.victims(size_bytes)
        if victims is None:
            return False
        for digest in victims:
            evict(digest)
        return True

    def _evict_host(self, digest: str) -> None:
        self.host.drop(digest)
        self._host_arena.free(self._host_frames.pop(digest).bytes)

    def _evict_device(self, digest: str) -> None:
        assert self.device is not None
        assert self._copy_device is not None
        self.device.drop(digest)
        self._copy_device.free(self._device_frames.pop(digest).bytes)

    def _commit(self, unit: Unit, event: Arrived) -> list[ExpertFailure]:
        is_read = event.tier is Tier.HOST
        pool = self.host if is_read else self.front
        if event.error is None:
            pool.commit(unit)
            for lease in self._waiting_for(unit):
                lease.note(unit, event)
            return []
        (self._evict_host if is_read else self._evict_device)(unit.hash)
        failures = []
        for lease in self._waiting_for(unit):
            lease.is_failed = True
            error = WeightsError(lease.expert, f"unit '{unit.name}' cannot be loaded: {event.error}")
            failures.append(ExpertFailure(lease.expert, error))
        return failures

    def _waiting_for(self, unit: Unit) -> Iterator[Lease]:
        return (lease for lease in self._leases if any(own.hash == unit.hash for own in lease.units))

    def _book(self, lease: Lease) -> None:
        if lease.loaded_bytes:
            moved = self._moved[lease.expert]
            moved.num_loads += 1
            moved.loaded_bytes += lease.loaded_bytes
            moved.load_s += lease.load_s
            if lease.disk_bytes and lease.load_s:
                self.bytes_per_s = lease.disk_bytes / lease.load_s

    def _pools(self) -> tuple[Pool, ...]:
        return (self.host,) if self.device is None else (self.host, self.device)

    def _front_frames(self) -> Mapping[str, _Frame]:
        return self._host_frames if self.device is None else self._device_frames

    # -- proof

    def check_integrity(self) -> None:
        """Raise AssertionError if books, frames and leases disagree."""
        for pool, frames in ((self.host, self._host_frames), (self.device, self._device_frames)):
            if pool is None:
                continue
            pool.check_integrity()
            assert pool.used_bytes == sum(frame.bytes.numel() for frame in frames.values())
        assert self._host_arena.held_bytes <= self.host.budget_bytes
        for lease in self._leases:
            assert lease.is_open
            assert all(self.front.committed_bytes().get(unit.hash) for unit in lease.units)
