"""`coe bench policy`: bytes that eviction policies move, on the cache's own books, beside what a clairvoyant would.

A stream of requests, one expert each, runs through the real books of a tier (`TierBooks`); nothing is copied and no
time passes. All policies see the same order and the same prefetch. The optimum is Belady's rule, the same books
with a forecast that knows the whole future; it is exact because all units have one size and no bytes are shared.
"Queue" is how many requests behind the current one are known, as they are in a server under load; 0 is a server that is
never behind. Knows nothing about leases in time, bandwidth or tensors.
"""

from __future__ import annotations

import argparse
import random
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from coe.bench.report import emit, median, table
from coe.machine.record import this_machine
from coe.weights.residency.eviction import Eviction, LruEviction, ValueEviction
from coe.weights.residency.popularity import Popularity
from coe.weights.residency.recency import Recency
from coe.weights.residency.tier_books import TierBooks
from coe.weights.residency.unit_index import UnitIndex
from coe.weights.unit import Unit

__all__ = ["add_arguments", "run"]

QUEUES = (0, 1, 2, 4, 8, 16)
UNIT_BYTES = 32 << 20
NUM_UNITS = 8  # per expert: 256 MiB, about the demo's


@dataclass(frozen=True, slots=True)
class Workload:
    """Shares of requests per expert, and how many experts fit."""

    name: str
    shares: tuple[float, ...]
    num_fitting: float


class _Moved(NamedTuple):
    num_bytes: int
    num_whole_hits: int


class _Oracle:
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


def zipf(exponent: float, num_experts: int) -> tuple[float, ...]:
    """Shares of a Zipf law: the k-th expert's is proportional to k ** -exponent."""
    weights = [rank**-exponent for rank in range(1, num_experts + 1)]
    return tuple(weight / sum(weights) for weight in weights)


def grouped(shares: Sequence[float], num_experts: int) -> tuple[float, ...]:
    """Each share split evenly over a group of experts, the groups equally large."""
    size = num_experts // len(shares)
    return tuple(share / size for share in shares for _ in range(size))


def workloads(num_experts: int) -> list[Workload]:
    hot = (0.8, 0.05, 0.05, 0.05, 0.05)
    quarter = num_experts / 4
    return [
        *(Workload(f"Zipf {exponent:g}", zipf(exponent, num_experts), quarter) for exponent in (0.8, 1.0, 1.2)),
        Workload(f"80/5/5/5/5, {num_experts} experts", grouped(hot, num_experts), quarter),
        Workload("80/5/5/5/5, 5 experts, 1.25 fit", hot, 1.25),
        Workload("80/5/5/5/5, 5 experts, 2 fit", hot, 2.0),
    ]


def simulate(requests: Sequence[str], budget_bytes: int, policy: str, queue: int) -> _Moved:
    """Run one stream through one tier's books; `policy` is lru, value or optimum."""
    index, popularity, recency, oracle = UnitIndex(), Popularity(), Recency(), _Oracle(requests)
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
    return _Moved(num_bytes, num_whole_hits)


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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--requests", type=int, default=2000, help="requests per stream (default 2000)")
    parser.add_argument("--experts", type=int, default=30, help="experts, a quarter of which fit (default 30)")
    parser.add_argument("--seeds", type=int, default=3, help="streams per workload; medians are shown (default 3)")
    parser.add_argument("--out", type=Path, help="folder for policy.json and policy.png")


def run(arguments: argparse.Namespace) -> int:
    """Simulate all workloads; prints a table, then one JSON line. Returns the exit code."""
    results = [_measure(each, arguments.requests, arguments.seeds) for each in workloads(arguments.experts)]
    print(_table(results))
    result = {
        "benchmark": "policy",
        "num_experts": arguments.experts,
        "num_requests": arguments.requests,
        "seeds": list(range(arguments.seeds)),
        "expert_bytes": NUM_UNITS * UNIT_BYTES,
        "units_per_expert": NUM_UNITS,
        "shared_bytes": 0,
        "workloads": results,
        "hardware": asdict(this_machine()),
    }
    out: Path | None = arguments.out
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        _plot(results, out / "policy.png")
    emit(result, out / "policy.json" if out else None)
    return 0


def _measure(workload: Workload, num_requests: int, num_seeds: int) -> dict[str, Any]:
    by_queue = []
    for queue in QUEUES:
        runs = [_compare(workload, num_requests, seed, queue) for seed in range(num_seeds)]
        by_queue.append({"queue": queue} | {key: median([run[key] for run in runs]) for key in runs[0]})
    return {"workload": workload.name, "num_fitting": workload.num_fitting, "by_queue": by_queue}


def _compare(workload: Workload, num_requests: int, seed: int, queue: int) -> dict[str, float]:
    names = [f"expert-{index:02}" for index in range(len(workload.shares))]
    requests = random.Random(seed).choices(names, workload.shares, k=num_requests)
    budget_bytes = int(workload.num_fitting * NUM_UNITS) * UNIT_BYTES
    lru, value, optimum = (simulate(requests, budget_bytes, policy, queue) for policy in ("lru", "value", "optimum"))
    gap = lru.num_bytes - optimum.num_bytes
    return {
        "lru_bytes": lru.num_bytes,
        "value_bytes": value.num_bytes,
        "optimum_bytes": optimum.num_bytes,
        "gap_closed": round((lru.num_bytes - value.num_bytes) / gap, 3) if gap else 1.0,
        "bytes_saved": round(1 - value.num_bytes / lru.num_bytes, 3),
        "bytes_saved_by_optimum": round(1 - optimum.num_bytes / lru.num_bytes, 3),
        "lru_hit_rate": round(lru.num_whole_hits / num_requests, 3),
        "value_hit_rate": round(value.num_whole_hits / num_requests, 3),
        "optimum_hit_rate": round(optimum.num_whole_hits / num_requests, 3),
    }


def _table(results: Sequence[dict[str, Any]]) -> str:
    heads = ("workload", "queue", "LRU GB", "ours GB", "optimum GB", "gap closed", "fewer bytes", "optimum's")
    rows = [
        (
            result["workload"],
            str(each["queue"]),
            *(f"{each[key] / 1e9:.1f}" for key in ("lru_bytes", "value_bytes", "optimum_bytes")),
            *(f"{each[key]:.0%}" for key in ("gap_closed", "bytes_saved", "bytes_saved_by_optimum")),
        )
        for result in results
        for each in result["by_queue"]
    ]
    return table(heads, rows)


def _plot(results: Sequence[dict[str, Any]], file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(results), figsize=(3 * len(results), 3), layout="constrained")
    for axis, result in zip(axes, results, strict=True):
        queues = [str(each["queue"]) for each in result["by_queue"]]
        for key, label, color in (
            ("lru_bytes", "LRU", "#b0b0b0"),
            ("value_bytes", "coe", "#1f5f99"),
            ("optimum_bytes", "offline optimum", "#e08214"),
        ):
            axis.plot(queues, [each[key] / 1e9 for each in result["by_queue"]], "o-", label=label, color=color)
        axis.set_title(result["workload"], fontsize=8)
        axis.set_xlabel("requests known ahead", fontsize=8)
        axis.set_ylim(bottom=0)
    axes[0].set_ylabel("GB moved")
    axes[0].legend(fontsize=7)
    figure.savefig(file, dpi=120)
    pyplot.close(figure)
