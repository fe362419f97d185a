"""A stream of requests through one tier's books, under one eviction policy: bytes moved, nothing copied, no clock.

All policies see the same order and the same prefetch. The optimum is Belady's rule, the same books with a forecast that
knows the whole future; it is exact because all units have one size and no bytes are shared. Knows nothing about leases
in time, bandwidth or tensors.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from coe.bench.zipf import zipf
from coe.weights.residency.eviction import Eviction, LruEviction, ValueEviction
from coe.weights.residency.popularity import Popularity
from coe.weights.residency.recency import Recency
from coe.weights.residency.tier_books import TierBooks
from coe.weights.residency.unit_index import UnitIndex
from coe.weights.unit import Unit

__all__ = ["MIN_EXPERTS", "NUM_UNITS", "UNIT_BYTES", "Moved", "Workload", "simulate", "workloads"]

UNIT_BYTES = 32 << 20
NUM_UNITS = 8  # per expert: 256 MiB, about the demo's
HOT_SHARES = (0.8, 0.05, 0.05, 0.05, 0.05)
MIN_EXPERTS = len(HOT_SHARES)


@dataclass(frozen=True, slots=True)
class Workload:
    """Shares of requests per expert, and how many experts fit."""

    name: str
    shares: tuple[float, ...]
    num_fitting: float


class Moved(NamedTuple):
    num_bytes: int
    num_whole_hits: int


class Oracle:
    """Knows when each expert is wanted next."""

    def __init__(self, requests: Sequence[str]) -> None:
        self.now = 0
        self._times: dict[str, list[int]] = defaultdict(list)
        for at, expert in enumerate(requests):
            self._times[expert].append(at)

    def chance(self, expert: str) -> float:
        times = self._times[expert]
        after = bisect_right(times, self.now)
        return 1.0 / (times[after] - self.now) if after < len(times) else 0.0


def grouped(shares: Sequence[float], num_experts: int) -> tuple[float, ...]:
    """Each share split evenly over a group of experts, the groups equally large."""
    size = num_experts // len(shares)
    return tuple(share / size for share in shares for _ in range(size))


def workloads(num_experts: int) -> list[Workload]:
    quarter = num_experts / 4
    return [
        *(Workload(f"Zipf {exponent:g}", zipf(exponent, num_experts), quarter) for exponent in (0.8, 1.0, 1.2)),
        Workload(f"80/5/5/5/5, {num_experts} experts", grouped(HOT_SHARES, num_experts), quarter),
        Workload("80/5/5/5/5, 5 experts, 1.25 fit", HOT_SHARES, 1.25),
        Workload("80/5/5/5/5, 5 experts, 2 fit", HOT_SHARES, 2.0),
    ]


def simulate(requests: Sequence[str], budget_bytes: int, policy: str, queue: int) -> Moved:
    """Run one stream through one tier's books; `policy` is lru, value or optimum."""
    index, popularity, recency, oracle = UnitIndex(), Popularity(), Recency(), Oracle(requests)
    evictions: dict[str, Eviction] = {
        "lru": LruEviction(index, recency),
        "value": ValueEviction(index, popularity),
        "optimum": ValueEviction(index, oracle),
    }
    books = TierBooks.of(budget_bytes, index, evictions[policy])
    units = {expert: _units(expert) for expert in sorted(set(requests))}
    for expert, own in units.items():
        index.register(expert, own)
    num_bytes = num_whole_hits = 0
    for at, expert in enumerate(requests):
        oracle.now = at
        popularity.count_request(expert)
        ahead = list(dict.fromkeys(requests[at + 1 : at + 1 + queue]))
        popularity.expect(ahead)
        claim = books.claims.lease(expert)
        moved = _bring(books, units[expert])
        num_whole_hits += moved == 0
        recency.touch(expert, float(at))
        if ahead:  # while this one runs, the next one comes closer
            moved += _bring(books, units[ahead[0]], spared=(ahead[0],))
        num_bytes += moved
        books.claims.unlease(expert, claim)
    books.check_integrity()
    return Moved(num_bytes, num_whole_hits)


def _bring(books: TierBooks, units: Sequence[Unit], spared: tuple[str, ...] = ()) -> int:
    """Make the absent units resident, in order; a prefetch (with `spared`) stops where only its betters could go."""
    num_bytes = 0
    for unit in units:
        if books.residents.is_absent(unit):
            below = books.eviction.worth_of_wanted(unit) if spared else None
            victims = books.eviction.victims(unit.size_bytes, spared=spared, below=below)
            if victims is None:
                assert spared, "a leased expert found no room"
                break
            for unit_hash in victims:
                books.residents.drop(unit_hash)
            books.residents.reserve(unit)
            books.residents.commit(unit)
            num_bytes += unit.size_bytes
    return num_bytes


def _units(expert: str) -> tuple[Unit, ...]:
    return tuple(Unit(f"layer.{index}", f"{expert}/{index}", UNIT_BYTES, ()) for index in range(NUM_UNITS))
