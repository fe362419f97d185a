"""Thread use: pure, so a busy neighbour is two numbers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from coe.engine.math_threads import PERIOD_S, MathThreads, Usage, num_threads, read_usage

START = Usage(10.0, 100.0, 40.0)


def after(others: float, own: float, wall_s: float = 1.0) -> Usage:
    """`others` and `own` are cores in use."""
    return Usage(10.0 + wall_s, 100.0 + (others + own) * wall_s, 40.0 + own * wall_s)


@pytest.mark.parametrize(
    ("num_cores", "most", "others", "own", "threads"),
    [
        (2, 2, 0.0, 2.0, 2),  # what we use ourselves is ours
        (2, 2, 0.2, 1.8, 2),  # a neighbour that hardly runs
        (2, 2, 1.0, 1.0, 1),
        (2, 2, 5.0, 0.1, 1),  # never none
        (8, 8, 3.0, 4.0, 5),
        (8, 4, 3.0, 4.0, 4),
        (2, 2, -0.1, 0.0, 2),  # the kernel's hundredths may count less than our own clock
    ],
)
def test_others_keep_the_cores_they_use(num_cores: int, most: int, others: float, own: float, threads: int) -> None:
    assert num_threads(most, num_cores, START, after(others, own)) == threads


def test_the_machine_is_looked_at_once_a_period(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0, 1})
    busy = after(1.0, 1.0, PERIOD_S)
    quiet = Usage(busy.wall_s + PERIOD_S, busy.busy_s + 0.5, busy.own_s + 0.5)
    looks = iter([START, busy, quiet])
    threads = MathThreads(2, lambda: next(looks))
    assert threads.now(10.0) == 2
    assert threads.now(10.0 + PERIOD_S) == 1
    assert threads.now(10.0 + 1.5 * PERIOD_S) == 1  # no third look yet
    assert threads.now(10.0 + 2 * PERIOD_S) == 2  # the neighbour used no more since


def test_one_thread_is_never_looked_after() -> None:
    threads = MathThreads(1, lambda: START)
    assert threads.now(1e9) == 1


def test_a_kernel_that_says_nothing_leaves_all_threads() -> None:
    assert MathThreads(3, lambda: None).now(1e9) == 3


def test_only_the_processors_that_this_process_may_use_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {1, 3})
    rows = {"cpu": 9999, "cpu0": 1000, "cpu1": 10, "cpu2": 2000, "cpu3": 30, "intr": 7}
    stat = tmp_path / "stat"
    stat.write_text("".join(f"{name} {ticks} 0 0 500 0 0 0 0 0 0\n" for name, ticks in rows.items()))
    usage = read_usage(stat)
    assert usage is not None
    assert usage.busy_s == 40 / os.sysconf("SC_CLK_TCK")
    assert read_usage(tmp_path / "absent") is None


def test_this_machine_says_something() -> None:
    usage = read_usage()
    assert usage is not None
    assert usage.busy_s >= usage.own_s > 0
