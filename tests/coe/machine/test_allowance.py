"""What a process may take, told by faked files: control groups, affinity, and systems without either."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from coe.machine.allowance import available_memory_bytes, usable_cpus
from coe.machine.cgroups import cpu_quota, memory_headroom_bytes, num_cpuset_cpus

GB = 10**9
HUGE = "9223372036854771712"  # what version 1 says where there is no limit
V2, V1 = "sys/fs/cgroup", "sys/fs/cgroup/memory"
OWN = {"proc/self/cgroup": "0::/pod/box\n"}
OWN_V1 = {"proc/self/cgroup": "5:cpu,cpuacct:/pod/box\n4:memory:/pod/box\n3:cpuset:/pod/box\n0::/\n"}
MOUNTS_V1 = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n"
    "36 31 0:33 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "37 31 0:34 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
)

Files = Mapping[str, str | int]


def machine(folder: Path, files: Files, *, free: int | None = 100 * GB) -> Path:
    """A root folder with these files and a machine with `free` bytes."""
    meminfo = {} if free is None else {"proc/meminfo": f"MemTotal: 1 kB\nMemAvailable:   {free // 1024} kB\n"}
    for name, text in {**meminfo, **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return folder


@pytest.fixture(autouse=True)
def _eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)


@pytest.mark.parametrize(
    ("files", "headroom"),
    [
        ({}, None),
        ({f"{V2}/memory.max": 4 * GB}, 4 * GB),  # without /proc/self/cgroup, as in a namespace of its own
        ({f"{V2}/memory.max": "max"}, None),
        ({f"{V2}/memory.max": "nonsense"}, None),
        ({f"{V2}/memory.max": 4 * GB, f"{V2}/memory.current": GB}, 3 * GB),
        ({f"{V2}/memory.max": 4 * GB, f"{V2}/memory.high": 2 * GB, f"{V2}/memory.current": GB}, GB),
        ({f"{V2}/memory.max": "max", f"{V2}/memory.high": 2 * GB}, 2 * GB),
        ({f"{V2}/memory.max": GB, f"{V2}/memory.current": 2 * GB}, 0),
        (
            {
                f"{V2}/memory.max": 4 * GB,
                f"{V2}/memory.current": 3 * GB,
                f"{V2}/memory.stat": f"anon {GB}\nfile {2 * GB}\ninactive_file {GB}\nactive_file {GB // 2}",
            },
            4 * GB - 3 * GB // 2,
        ),
        ({**OWN, f"{V2}/pod/box/memory.max": 2 * GB, f"{V2}/pod/memory.max": 4 * GB}, 2 * GB),
        ({**OWN, f"{V2}/pod/box/memory.max": "max", f"{V2}/pod/memory.max": 4 * GB}, 4 * GB),
        (  # a group around it has neighbours in it
            {
                **OWN,
                f"{V2}/pod/box/memory.max": 4 * GB,
                f"{V2}/pod/memory.max": 6 * GB,
                f"{V2}/pod/memory.current": 5 * GB,
            },
            GB,
        ),
        ({**OWN, f"{V2}/memory.max": 3 * GB}, 3 * GB),  # its own folder is not there: seen from inside a container
        ({"proc/self/cgroup": "0::/../other", f"{V2}/memory.max": 3 * GB}, 3 * GB),
        ({f"{V1}/memory.limit_in_bytes": 4 * GB, f"{V1}/memory.usage_in_bytes": GB}, 3 * GB),
        (
            {
                **OWN_V1,
                "proc/self/mountinfo": MOUNTS_V1,
                f"{V1}/memory.limit_in_bytes": HUGE,
                f"{V1}/pod/memory.limit_in_bytes": 5 * GB,
                f"{V1}/pod/memory.usage_in_bytes": 3 * GB,
                f"{V1}/pod/memory.stat": f"inactive_file 7\ntotal_inactive_file {GB}\ntotal_active_file {GB}",
                f"{V1}/pod/box/memory.limit_in_bytes": HUGE,
            },
            4 * GB,
        ),
        (  # a container without a namespace of its own: what is mounted is its group, and has the group's long name
            {
                "proc/self/cgroup": "4:memory:/docker/abc/inner",
                "proc/self/mountinfo": "35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory",
                f"{V1}/memory.limit_in_bytes": 4 * GB,
                f"{V1}/inner/memory.limit_in_bytes": 2 * GB,
                f"{V1}/docker/abc/inner/memory.limit_in_bytes": 1,
            },
            2 * GB,
        ),
        (  # mounted somewhere else
            {**OWN, "proc/self/mountinfo": "1 1 0:1 / /groups rw - cgroup2 none rw", "groups/pod/memory.max": GB},
            GB,
        ),
    ],
)
def test_memory_is_limited_by_the_tightest_group(tmp_path: Path, files: Files, headroom: int | None) -> None:
    root = machine(tmp_path, files)
    found = memory_headroom_bytes(root)
    assert found == headroom or (headroom is None and found is not None and found > 2**60)
    assert available_memory_bytes(root) == pytest.approx(100 * GB if headroom is None else headroom, abs=1024)


def test_no_limit_of_version_1_is_no_limit(tmp_path: Path) -> None:
    root = machine(tmp_path, {f"{V1}/memory.limit_in_bytes": HUGE})
    assert available_memory_bytes(root) == 100 * GB // 1024 * 1024


def test_free_memory_counts_where_it_is_less_than_the_limit(tmp_path: Path) -> None:
    root = machine(tmp_path, {f"{V2}/memory.max": 4 * GB}, free=GB)
    assert available_memory_bytes(root) == pytest.approx(GB, abs=1024)


@pytest.mark.parametrize("meminfo", [None, "", "MemTotal: 5 kB", "MemAvailable: none", "MemAvailable:"])
def test_a_system_without_meminfo_has_its_whole_memory_or_its_limit(tmp_path: Path, meminfo: str | None) -> None:
    root = machine(tmp_path, {} if meminfo is None else {"proc/meminfo": meminfo}, free=None)
    assert available_memory_bytes(root) == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert available_memory_bytes(machine(tmp_path, {f"{V2}/memory.max": 1 << 20}, free=None)) == 1 << 20


def test_a_system_that_says_nothing_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sysconf")
    assert available_memory_bytes(machine(tmp_path, {}, free=None)) is None


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({}, 8),
        ({f"{V2}/cpu.max": "max 100000"}, 8),
        ({f"{V2}/cpu.max": "400000 100000"}, 4),
        ({f"{V2}/cpu.max": "150000 100000"}, 1),  # the half is left to HTTP and text
        ({f"{V2}/cpu.max": "50000 100000"}, 1),  # never none
        ({f"{V2}/cpu.max": "6400000 100000"}, 8),
        ({f"{V2}/cpu.max": "400000"}, 8),
        ({f"{V2}/cpu.max": "400000 0"}, 8),
        ({**OWN, f"{V2}/pod/box/cpu.max": "500000 100000", f"{V2}/pod/cpu.max": "300000 100000"}, 3),
        ({**OWN, f"{V2}/pod/box/cpuset.cpus.effective": "0-1,4"}, 3),
        ({**OWN, f"{V2}/pod/box/cpuset.cpus.effective": "", f"{V2}/pod/box/cpuset.cpus": "x-y"}, 8),
        ({**OWN, f"{V2}/pod/box/cpuset.cpus.effective": "0-5", f"{V2}/pod/box/cpu.max": "250000 100000"}, 2),
        ({f"{V2}/cpu/cpu.cfs_quota_us": -1, f"{V2}/cpu/cpu.cfs_period_us": 100000}, 8),
        ({f"{V2}/cpu,cpuacct/cpu.cfs_quota_us": 200000, f"{V2}/cpu,cpuacct/cpu.cfs_period_us": 100000}, 2),
        (
            {
                **OWN_V1,
                "proc/self/mountinfo": MOUNTS_V1,
                f"{V2}/cpu,cpuacct/cpu.cfs_quota_us": -1,
                f"{V2}/cpu,cpuacct/pod/box/cpu.cfs_quota_us": 350000,
                f"{V2}/cpu,cpuacct/pod/box/cpu.cfs_period_us": 100000,
                f"{V2}/cpuset/cpuset.cpus": "0-7",
                f"{V2}/cpuset/pod/box/cpuset.effective_cpus": "2-6",
            },
            3,
        ),
    ],
)
def test_threads_are_limited_by_the_tightest_group(tmp_path: Path, files: Files, cpus: int) -> None:
    assert usable_cpus(machine(tmp_path, files)) == cpus


def test_a_quota_is_a_fraction_and_a_cpuset_a_count(tmp_path: Path) -> None:
    root = machine(tmp_path, {f"{V2}/cpu.max": "150000 100000", f"{V2}/cpuset.cpus.effective": "0-1,3"})
    assert (cpu_quota(root), num_cpuset_cpus(root)) == (1.5, 3)


def test_the_affinity_counts_and_where_there_is_none_all_processors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {3, 5}, raising=False)
    assert usable_cpus(machine(tmp_path, {})) == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    assert usable_cpus(tmp_path) == 64
    assert usable_cpus(machine(tmp_path, {f"{V2}/cpu.max": "300000 100000"})) == 3


def test_this_machine_says_something() -> None:
    assert usable_cpus() >= 1
    assert (available_memory_bytes() or 0) > 1 << 20
