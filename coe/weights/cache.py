"""The three-tier weight cache, disk -> host -> device: the engine's door to everything in this package.

Owned by the engine thread, which alone calls it; transfer threads only post `Arrived` events, which the owner hands
back through `on_arrived`. On a CPU there is one tier above the disk, and the engine computes with the host bytes
themselves. Builds the modules' classes and passes events between them; the decisions are theirs: `residency/` decides
which units leave and whether a lease fits, `open_leases` and `prefetch` which units are loaded next.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from coe.errors import WeightsError
from coe.telemetry.hub import Publish, unheard
from coe.weights.lease import Lease
from coe.weights.load_watch import LoadWatch
from coe.weights.loader import Loader
from coe.weights.memory.allocation import Memory, SystemMemory
from coe.weights.memory.arena import Arena
from coe.weights.memory.device import CopyDevice
from coe.weights.memory.frames import Frames
from coe.weights.memory.unit_location import UnitLocations
from coe.weights.open_leases import ExpertFailure, OpenLeases
from coe.weights.prefetch import Prefetcher
from coe.weights.report import CacheReport, LoadHistory
from coe.weights.residency.eviction import Eviction, LruEviction, ValueEviction
from coe.weights.residency.fit import check_fits
from coe.weights.residency.link_speeds import LinkSpeeds
from coe.weights.residency.popularity import Popularity
from coe.weights.residency.recency import Recency
from coe.weights.residency.tier_books import TierBooks
from coe.weights.residency.unit_index import UnitIndex
from coe.weights.room import RoomLedger
from coe.weights.tier import TierMemory
from coe.weights.transfer import Arrived, UnitSource
from coe.weights.unit import Manifest

__all__ = ["WeightCache"]


class WeightCache:
    """Units in host and device memory under byte budgets.

    `host_memory`, of `host_bytes`, is pinned where there is a GPU; by default it is the system's. `eviction` is "value"
    or "lru". `publish` is told of loads. `report` answers questions from any thread.
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
        publish: Publish = unheard,
    ) -> None:
        self._units = UnitIndex()
        self._popularity, self._recency, self._speeds = Popularity(), Recency(), LinkSpeeds()
        self._loads, self._load_watch = LoadHistory(), LoadWatch(publish)
        host_eviction = self._eviction(eviction, lambda _: self._speeds.host_s_per_byte())
        host_books = TierBooks.of(host_bytes, self._units, host_eviction)
        self._host = TierMemory(host_books, Frames(Arena(host_memory or SystemMemory(host_bytes))))
        self._device, self._copy_device = None, device
        if device is not None:
            books = TierBooks.of(device_bytes, self._units, self._eviction(eviction, self._device_s_per_byte))
            self._device = TierMemory(books, Frames(device.arena, UnitLocations(device.forget), device.retire))
        self._front = self._host if self._device is None else self._device  # the one that the engine computes from
        self._loader = Loader(self._units, source, post, self._host, self._device, device)
        room = RoomLedger(self._host, self._device)
        self._leases = OpenLeases(
            self._units, self._host, self._device, self._loader, room, on_move=self._load, on_close=self._on_close
        )
        self._prefetcher = Prefetcher(self._units, self._host.books, self._front.books, self._loader, room)
        self.report = CacheReport(
            self._units, self._host, self._front, self._leases, self._loads, self._speeds, self._recency
        )

    def register(self, expert: str, manifest: Manifest, *, is_streamable: bool = False) -> None:
        """Make an expert known; raises WeightsError if it can never run.

        A streamable one runs unit by unit, so that it may be larger than the device.
        """
        check_fits(
            expert,
            manifest,
            host_bytes=self._host.books.residents.budget_bytes,
            device_bytes=self._front.books.residents.budget_bytes,
            is_streamable=is_streamable,
        )
        self._units.register(expert, manifest.units, is_streamable=is_streamable)

    # -- what the engine uses

    def can_lease(self, expert: str, giving_up: Collection[str] = ()) -> bool:
        """Whether a lease fits beside all leases and pins, but for one lease of each expert in `giving_up`."""
        return self._front.books.claims.can_lease(expert, giving_up)

    def pins_against(self, expert: str) -> tuple[str, ...]:
        """Return the pinned experts that leave no room for a lease of this one if no other were open."""
        return self._front.books.claims.pins_against(expert)

    def lease(self, expert: str) -> Lease:
        """Take the right to run an expert that `can_lease`; absent units start moving at once, in execution order."""
        lease = self._leases.open(expert)
        if not lease.is_ready:
            self._load_watch.opened(lease, self.report.residency(expert).tier, self.report.missing_bytes(expert))
        self._load()
        return lease

    def on_arrived(self, event: Arrived) -> list[ExpertFailure]:
        """Book a transfer that has ended; if it failed, returns the experts whose leases the owner has to close."""
        self._loader.finish(event)
        if event.error is not None:
            unit = self._units[event.unit_hash]
            self._prefetcher.give_up(unit)
            failures = self._leases.fail(unit, event.error)
        else:
            busy_s = self._speeds.note(event.tier, event.size_bytes, event.started_s, event.ended_s)
            self._leases.add_cost(event, busy_s)
            self._load_watch.arrived()
            failures = []
        if not failures:  # else closing the failed leases starts the next transfers
            self._load()
        return failures

    def check_device(self) -> None:
        """Raise what makes the device unusable for every expert, if a step that failed has done so (CUDA does)."""
        if self._copy_device is not None:
            self._copy_device.check()

    # -- what the engine says of the future

    def count_request(self, expert: str) -> None:
        """Count a request for the expert, which makes its units worth more."""
        self._popularity.count_request(expert)

    def touch(self, expert: str, now_s: float) -> None:
        """Note that the expert is in use."""
        self._recency.touch(expert, now_s)

    def expect(self, experts: Sequence[str]) -> None:
        """Name the experts that will be leased next, in this order; all others are expected no more.

        Their units are loaded when no lease needs the links, and only into room that nothing worth more fills.
        """
        if tuple(experts) != self._prefetcher.expected:
            self._prefetcher.expect(experts)
            self._popularity.expect(experts)
            self._load()

    # -- what the operator commands

    def pin(self, expert: str) -> None:
        """Keep an expert on the device once it is there; raises WeightsError if the pins could not fit together.

        Not in the host tier: a smaller one, filled with pins, would let nothing else through.
        """
        claims = self._front.books.claims
        if claims.is_larger(expert):
            raise WeightsError(expert, "it is larger than the budget and streams in every step: it cannot be pinned")
        if not claims.can_lease(expert):
            raise WeightsError(expert, "pinning it would leave no room for what is pinned or running; unpin another")
        claims.pin(expert)

    def unpin(self, expert: str) -> None:
        self._front.books.claims.unpin(expert)

    def unload(self, expert: str, *, keeps_host: bool = False) -> int:
        """Evict what only this expert needs and no lease or pin protects; returns the bytes freed.

        `keeps_host` frees device copies only, where there is a device with memory of its own.
        """
        tiers = [tier for tier in self._tiers if tier is not self._host or not keeps_host]
        freed_bytes = sum(tier.unload(expert) for tier in tiers)
        self._load()
        return freed_bytes

    # -- memory back to the system

    @property
    def give_back_due_s(self) -> float | None:
        """When `give_back` has something to do, in monotonic seconds."""
        return min((due for tier in self._tiers if (due := tier.frames.arena.due_s) is not None), default=None)

    def give_back(self) -> None:
        """Give memory that has been free for long to the system."""
        for tier in self._tiers:
            tier.frames.arena.give_back()

    def close(self) -> None:
        """Wait for transfers under way and give all memory back."""
        self._loader.close()
        for tier in self._tiers:
            tier.close()

    # -- small pieces

    @property
    def _tiers(self) -> Sequence[TierMemory]:
        """The nearest to the engine first: device copies go before their masters."""
        return (self._host,) if self._device is None else (self._device, self._host)

    def _eviction(self, name: str, reload_s_per_byte: Callable[[str], float]) -> Eviction:
        if name == "lru":
            return LruEviction(self._units, self._recency)
        assert name == "value", f"unknown eviction {name!r}"
        return ValueEviction(self._units, self._popularity, reload_s_per_byte)

    def _device_s_per_byte(self, unit_hash: str) -> float:
        is_on_host = self._host.books.residents.is_ready(self._units[unit_hash])
        return self._speeds.device_s_per_byte(is_on_host=is_on_host)

    def _load(self) -> None:
        """Start every transfer that leases need and the budgets allow, then those for what is expected next."""
        self._leases.load()
        if not self._leases.are_waiting:
            self._prefetcher.load()

    def _on_close(self, lease: Lease) -> None:
        self._load_watch.closed(lease)
        self._loads.add(lease.expert, lease.cost)
        self._load()

    def check_integrity(self) -> None:
        """Raise AssertionError if books, frames, transfers and leases disagree."""
        for tier in self._tiers:
            tier.check_integrity()
        self._loader.check_integrity()
        self._leases.check_integrity()
