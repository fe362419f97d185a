"""The command `coe bench policy`: workloads, policies and known queues against each other, as a table and a picture.

"Queue" is how many requests behind the current one are known, as they are in a server under load; 0 is a server that is
never behind. Simulated (simulation.py): no expert runs.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from functools import partial
from typing import Any

from coe.bench.arguments import add_out_argument, at_least
from coe.bench.policy.simulation import MIN_EXPERTS, NUM_UNITS, UNIT_BYTES, Workload, simulate, workloads
from coe.bench.report import Output, median, record, table

__all__ = ["add_arguments", "run"]

QUEUES = (0, 1, 2, 4, 8, 16)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    count = at_least(1)
    parser.add_argument("--requests", type=count, default=2000, help="requests per stream (default 2000)")
    text = f"experts, a quarter of which fit (default 30, at least {MIN_EXPERTS})"
    parser.add_argument("--experts", type=at_least(MIN_EXPERTS), default=30, help=text)
    parser.add_argument("--seeds", type=count, default=3, help="streams per workload; medians are shown (default 3)")
    add_out_argument(parser, "policy.json and policy.png")


def run(arguments: argparse.Namespace) -> int:
    """Simulate all workloads; prints a table, then one JSON line. Returns the exit code."""
    output = Output(arguments.out)
    results = [_measure(each, arguments.requests, arguments.seeds) for each in workloads(arguments.experts)]
    print(_table(results))
    figures = {
        "num_experts": arguments.experts,
        "num_requests": arguments.requests,
        "seeds": list(range(arguments.seeds)),
        "expert_bytes": NUM_UNITS * UNIT_BYTES,
        "units_per_expert": NUM_UNITS,
        "shared_bytes": 0,
        "workloads": results,
    }
    output.publish("policy", record("policy", figures), partial(_paint, results))
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


def _paint(results: Sequence[dict[str, Any]], figure: Any) -> None:
    figure.set_size_inches(3 * len(results), 3)
    axes = figure.subplots(1, len(results))
    for axis, result in zip(axes, results, strict=True):
        places = range(len(result["by_queue"]))
        for key, label, color in (
            ("lru_bytes", "LRU", "#b0b0b0"),
            ("value_bytes", "coe", "#1f5f99"),
            ("optimum_bytes", "offline optimum", "#e08214"),
        ):
            axis.plot(places, [each[key] / 1e9 for each in result["by_queue"]], "o-", label=label, color=color)
        axis.set_xticks(places, [str(each["queue"]) for each in result["by_queue"]])
        axis.set_title(result["workload"], fontsize=8)
        axis.set_xlabel("requests known ahead", fontsize=8)
        axis.set_ylim(bottom=0)
    axes[0].set_ylabel("GB moved")
    axes[0].legend(fontsize=7)
