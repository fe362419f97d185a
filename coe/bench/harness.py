"""How benchmarks time: seconds of a call, medians over rounds, contenders in turns, what a call spends its time on.

Knows nothing about what is timed or how it is shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

import torch

from coe.bench.report import median

__all__ = ["Operator", "in_turns", "median_seconds", "operators", "seconds", "synchronize"]

T = TypeVar("T")

CPU = torch.device("cpu")
NUM_OPERATORS = 16


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has done what it was given; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(work: Callable[[], object], device: torch.device = CPU) -> float:
    """Return how long a call takes, the device's part included."""
    synchronize(device)
    started_s = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - started_s


def median_seconds(
    work: Callable[[], object],
    num_rounds: int,
    device: torch.device = CPU,
    before: Callable[[], object] = lambda: None,
) -> float:
    """Return the median over rounds; `before` is called ahead of each and not timed."""
    took_s = []
    for _ in range(num_rounds):
        before()
        took_s.append(seconds(work, device))
    return median(took_s)


def in_turns(contenders: Mapping[str, Callable[[], T]], num_rounds: int) -> dict[str, list[T]]:
    """Call every contender once per round, so that none has the machine's good minutes to itself.

    Returns what each returned, round after round. A round more comes first: it warms page cache and imports.
    """
    found: dict[str, list[T]] = {name: [] for name in contenders}
    for number in range(num_rounds + 1):
        for name, contender in contenders.items():
            result = contender()
            if number:
                found[name].append(result)
    return found


class Operator(NamedTuple):
    """An operator or a kernel of a step, with the profiler's overhead."""

    name: str
    num_calls: int
    own_ms: float


def operators(work: Callable[[], object], num_steps: int, device: torch.device = CPU) -> tuple[Operator, ...]:
    """Return what a call of `work` spends most time on, the largest first; on a GPU its kernels."""
    from torch.profiler import ProfilerActivity, profile

    on_gpu = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]) as found:
        for _ in range(num_steps):
            work()
        synchronize(device)
    spent = [
        Operator(
            row.key[:80],
            row.count // num_steps,
            round((row.self_device_time_total if on_gpu else row.self_cpu_time_total) / num_steps / 1e3, 4),
        )
        for row in found.key_averages()
    ]
    return tuple(sorted(spent, key=lambda each: -each.own_ms)[:NUM_OPERATORS])
