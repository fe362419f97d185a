"""What this process may take of the machine: processors and memory, by affinity, control groups and what is free.

Everything that counts threads or derives a budget asks here. Where a system does not tell (no /proc, no affinity, no
control groups), what it does tell counts. Knows nothing about what is done with either.
"""

from __future__ import annotations

import os
from pathlib import Path

from coe.machine.cgroups import ROOT, cpu_quota, memory_headroom_bytes, num_cpuset_cpus

__all__ = ["available_memory_bytes", "usable_cpus", "visible_cpus"]


def visible_cpus() -> frozenset[int]:
    """Return the processors that the scheduler may put this thread on: its affinity, or all where there is none."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def usable_cpus(root: Path = ROOT) -> int:
    """Return how many threads may compute at once, at least 1: the affinity, or a control group's limit below it.

    A quota's fraction is left over: with 2 threads on 1.5 processors both stand still for a quarter of each period,
    and the threads for HTTP and text with them.
    """
    quota = cpu_quota(root)
    limits = (len(visible_cpus()), num_cpuset_cpus(root), None if quota is None else int(quota))
    return max(1, min(limit for limit in limits if limit is not None))


def available_memory_bytes(root: Path = ROOT) -> int | None:
    """Return the bytes of RAM that can be taken without swapping and within the control groups' limits.

    None on a system that does not say how much memory it has.
    """
    sizes = (memory_headroom_bytes(root), _free_bytes(root))
    return min((size for size in sizes if size is not None), default=None)


def _free_bytes(root: Path) -> int | None:
    """Return what Linux calls available, the whole memory on systems that have no such figure."""
    try:
        with (root / "proc/meminfo").open(encoding="utf-8") as file:
            facts = dict(line.split(":", 1) for line in file if ":" in line)
        return int(facts["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError, IndexError):
        return _whole_bytes()


def _whole_bytes() -> int | None:
    try:
        pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
    return pages * page_bytes if pages > 0 else None
