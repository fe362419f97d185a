"""Control groups: what Linux lets this process, and the containers around it, take of memory and processors.

Covered: versions 1, 2 and both at once; every group from the process's own up to the root of what is mounted, of which
the tightest counts; namespaces that hide where the process's group is. A file that is not there, or that says "max",
limits nothing. Sources: the kernel's admin guides to cgroup v1 and v2, cgroups(7), proc_pid_mountinfo(5). Knows nothing
about the machine itself or what its limits are for.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

__all__ = ["ROOT", "cpu_quota", "memory_headroom_bytes", "num_cpuset_cpus"]

ROOT = Path("/")  # of the files that are read; tests have another
DEFAULT_MOUNTS = Path("sys/fs/cgroup")  # where hierarchies are mounted if /proc does not say


class _Hierarchy(NamedTuple):
    """A mounted hierarchy of groups: `top` is the group that is mounted, as /proc/self/cgroup would name it."""

    mount: Path
    top: str
    is_v2: bool


class _Group(NamedTuple):
    """One group's folder."""

    folder: Path
    is_v2: bool

    def text(self, name: str) -> str:
        """Return a file's text, nothing where it is missing."""
        return _text(self.folder / name)

    def number(self, name: str) -> int | None:
        """Return a file's number; None where it is missing or "max"."""
        text = self.text(name)
        return int(text) if text.isdecimal() else None


def memory_headroom_bytes(root: Path = ROOT) -> int | None:
    """Return the bytes that may still be taken before a group is at its limit; None where no group has one.

    What counts as taken is a group's use without its file cache, which the kernel gives up first.
    """
    headrooms = [
        max(0, limit - _used_bytes(group))
        for group in _groups("memory", root)
        for name in (("memory.max", "memory.high") if group.is_v2 else ("memory.limit_in_bytes",))
        if (limit := group.number(name)) is not None
    ]
    return min(headrooms, default=None)


def cpu_quota(root: Path = ROOT) -> float | None:
    """Return how many processors' time may be used; None where no group has a quota."""
    return min((quota for group in _groups("cpu", root) if (quota := _quota(group)) is not None), default=None)


def num_cpuset_cpus(root: Path = ROOT) -> int | None:
    """Return on how many processors the process may run; None where no group says."""
    files = ("cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus")
    counts = [_count(group.text(name)) for group in _groups("cpuset", root) for name in files]
    return min((count for count in counts if count), default=None)


# -- one group's files


def _used_bytes(group: _Group) -> int:
    facts = dict(line.split(" ", 1) for line in group.text("memory.stat").splitlines() if " " in line)
    if group.is_v2:
        return (group.number("memory.current") or 0) - _file_cache(facts, "")
    prefix = "total_" if "total_inactive_file" in facts else ""  # v1 names what is below a group apart
    return (group.number("memory.usage_in_bytes") or 0) - _file_cache(facts, prefix)


def _file_cache(facts: Mapping[str, str], prefix: str) -> int:
    values = (facts.get(f"{prefix}{kind}_file", "").strip() for kind in ("inactive", "active"))
    return sum(int(value) for value in values if value.isdecimal())


def _quota(group: _Group) -> float | None:
    if group.is_v2:
        words = group.text("cpu.max").split()
        quota, period = words if len(words) == 2 else ("max", "")
    else:
        quota, period = group.text("cpu.cfs_quota_us"), group.text("cpu.cfs_period_us")  # -1: no quota
    if not (quota.isdecimal() and period.isdecimal() and int(period)):
        return None
    return int(quota) / int(period)


def _count(cpus: str) -> int:
    """Return how many processors a list such as "0-3,8" names; 0 for one that is empty or cannot be read."""
    ends = [part.split("-") for part in cpus.split(",")]
    if not all(1 <= len(pair) <= 2 and all(end.strip().isdecimal() for end in pair) for pair in ends):
        return 0
    return sum(int(pair[-1]) - int(pair[0]) + 1 for pair in ends)


# -- where the groups are


def _groups(controller: str, root: Path) -> Iterator[_Group]:
    """Yield the process's group and those around it, of each hierarchy that may have the controller."""
    own = _own_groups(root)
    for mount, top, is_v2 in _hierarchies(controller, root):
        name = own.get("" if is_v2 else controller, "/")
        inside = posixpath.relpath(name, top) if _is_inside(name, top) else "."
        folder = mount / inside
        for each in [folder, *folder.parents]:
            yield _Group(each, is_v2)
            if each == mount:
                break


def _is_inside(name: str, top: str) -> bool:
    """Return whether a group can be seen below what is mounted: a namespace names others by ways up from its own."""
    return ".." not in name.split("/") and posixpath.commonpath([name, top]) == top


def _own_groups(root: Path) -> dict[str, str]:
    """Return controller -> the process's group; version 2's has the empty name."""
    found: dict[str, str] = {}
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, name = [*line.split(":", 2), "", ""][:3]
        if name.startswith("/"):
            found |= dict.fromkeys(controllers.split(","), name)
    return found


def _hierarchies(controller: str, root: Path) -> list[_Hierarchy]:
    return list(_mounted(controller, root)) or list(_by_default(controller, root))


def _mounted(controller: str, root: Path) -> Iterator[_Hierarchy]:
    for line in _text(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, (kind, _, options) = before.split(), [*after.split(), "", "", ""][:3]
        is_v2 = kind == "cgroup2"
        if len(fields) > 4 and (is_v2 or (kind == "cgroup" and controller in options.split(","))):
            top, mount = (field.replace(r"\040", " ") for field in fields[3:5])
            yield _Hierarchy(root / mount.lstrip("/"), top if top.startswith("/") and "/.." not in top else "/", is_v2)


def _by_default(controller: str, root: Path) -> Iterator[_Hierarchy]:
    mounts = root / DEFAULT_MOUNTS
    yield _Hierarchy(mounts, "/", True)
    for folder in sorted(mounts.glob(f"*{controller}*")):
        if controller in folder.name.split(","):
            yield _Hierarchy(folder, "/", False)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
