"""How many threads the next step's matmuls get: all cores while they are idle, fewer while other processes use some.

A matmul over every core waits for its slowest part, and a part whose core another process holds waits for a whole
scheduler slice: 7 ms instead of 0.1 (measured). So the cores that others use are left to them, of those that this
process may run on. Covered: Linux, by /proc/stat and this process's own clock. Knows nothing about quotas: `most` does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from coe.machine.allowance import visible_cpus

__all__ = ["MathThreads", "Usage", "num_threads", "read_usage"]

PERIOD_S = 0.25  # between looks: the kernel counts in hundredths of a second
TOLERANCE = 0.3  # the share of a core that others may use before a thread is given up
STAT = Path("/proc/stat")


class Usage(NamedTuple):
    """Seconds since some start: by the wall clock, of work on the cores in question, of this process's part in it."""

    wall_s: float
    busy_s: float
    own_s: float


def num_threads(most: int, num_cores: int, before: Usage, after: Usage) -> int:
    """Return the cores that others left idle between two looks, at least 1 and at most `most`."""
    wall_s = after.wall_s - before.wall_s
    others_s = (after.busy_s - before.busy_s) - (after.own_s - before.own_s)
    free = num_cores - max(0.0, others_s) / wall_s if wall_s > 0 else num_cores
    return max(1, min(most, int(free + TOLERANCE)))


def read_usage(stat: Path = STAT) -> Usage | None:
    """Return the usage of the processors that this thread may run on, None where the kernel does not tell."""
    try:
        lines = [line.split() for line in stat.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return None
    ours = {f"cpu{number}" for number in visible_cpus()}
    busy = [_busy_ticks(words) for words in lines if words and words[0] in ours]
    if not busy:
        return None
    return Usage(time.monotonic(), sum(busy) / os.sysconf("SC_CLK_TCK"), time.process_time())


def _busy_ticks(words: Sequence[str]) -> int:
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(word) for word in words[1:9])
    return user + nice + system + irq + softirq + steal


class MathThreads:
    """Reads the usage every PERIOD_S; `now` is how many threads the next step should use."""

    def __init__(self, most: int, read: Callable[[], Usage | None] = read_usage) -> None:
        self._most, self._read = most, read
        self._num_cores = len(visible_cpus())
        self._before = read()
        self._now = most

    def now(self, now_s: float) -> int:
        """Return the threads for a step that begins at `now_s` (monotonic)."""
        if self._most > 1 and self._before is not None and now_s - self._before.wall_s >= PERIOD_S:
            after = self._read()
            if after is not None:
                self._now = num_threads(self._most, self._num_cores, self._before, after)
            self._before = after
        return self._now
