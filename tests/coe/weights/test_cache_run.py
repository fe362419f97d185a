"""A long random run over the real cache, a real store and real copies: books balance and bytes are right throughout.

The owner here does what the engine does: it leases only what `can_lease` allows, closes failed leases, hands arrivals
back. The host may be smaller than the device, and one expert is larger than it. Faults are real where a file can be
made so (short, missing, changed, unreadable) and injected where a machine would have to break (I/O error, full disk,
no memory, a copy that fails).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue

import pytest
import torch

from coe.errors import WeightsError
from coe.weights.cache import WeightCache
from coe.weights.device import EmulatedDevice
from coe.weights.lease import Lease
from coe.weights.store import UnitStore
from coe.weights.transfer import Arrived
from coe.weights.unit import ALIGNMENT, Manifest, Unit

PAGE = ALIGNMENT


class Faults:
    """What goes wrong next: how many reads, copies and writes fail before things are well again."""

    def __init__(self) -> None:
        self.armed = dict.fromkeys(("read", "copy", "write"), 0)

    def strike(self, kind: str, error: Exception) -> None:
        if self.armed[kind] > 0:
            self.armed[kind] -= 1
            raise error


class Store(UnitStore):
    def __init__(self, folder: Path, faults: Faults) -> None:
        super().__init__(folder)
        self.faults = faults

    def reads(self, unit: Unit, target: memoryview) -> Sequence[Callable[[], None]]:
        def fail_first(read: Callable[[], None]) -> None:
            self.faults.strike("read", OSError(errno.EIO, os.strerror(errno.EIO)))
            read()

        return [lambda read=read: fail_first(read) for read in super().reads(unit, target)]  # type: ignore[misc]


class Device(EmulatedDevice):
    def __init__(self, budget_bytes: int, faults: Faults) -> None:
        super().__init__(budget_bytes)
        self.faults = faults

    def copy(self, source: torch.Tensor, target: torch.Tensor) -> None:
        self.faults.strike("copy", RuntimeError("unspecified launch failure"))
        super().copy(source, target)


class Owner:
    """What the engine thread does to a cache, in whatever order a test asks for."""

    def __init__(
        self,
        folder: Path,
        experts: dict[str, list[tuple[str, int]]],
        host: int,
        device: int | None,
        policy: str = "value",
    ) -> None:
        self.faults = Faults()
        self.store = Store(folder, self.faults)
        self.inbox: SimpleQueue[Arrived] = SimpleQueue()
        self.cache = WeightCache(
            self.store,
            host_bytes=host * PAGE,
            device=None if device is None else Device(device * PAGE, self.faults),
            device_bytes=(device or 0) * PAGE,
            post=self.inbox.put,
            policy=policy,
        )
        self.leases: list[Lease] = []
        self.at: dict[int, int] = {}  # how far the step under each lease is
        self.failed: set[str] = set()
        self.errors: list[str] = []
        self.units = {name: tuple(self.unit(*each) for each in sizes) for name, sizes in experts.items()}
        for name, units in self.units.items():
            self.cache.register(name, Manifest(name, name, "float32", {}, {}, "", units, {}), is_streamable=True)

    def unit(self, name: str, num_pages: int) -> Unit:
        return Unit(name, self.store.put(memoryview(content(name, num_pages))), num_pages * PAGE, ())

    def lease(self, expert: str) -> None:
        if self.cache.front.can_lease(expert):
            self.leases.append(self.cache.lease(expert))
            self.at[id(self.leases[-1])] = 0

    def close(self, lease: Lease) -> None:
        self.leases.remove(lease)
        lease.close()

    def take(self) -> None:
        """Take one arrival in, waiting for it; there must be one under way."""
        for failure in self.cache.on_arrived(self.inbox.get(timeout=60)):
            self.failed.add(failure.expert)
            self.errors.append(str(failure.error))
            for lease in [lease for lease in self.leases if lease.expert == failure.expert]:
                self.close(lease)

    def step(self, lease: Lease) -> None:
        """A whole step, its units' bytes compared one after another; a load that stops moving waits here for ever."""
        for index in range(self.at[id(lease)], len(lease.units)):
            while lease.is_open and lease.num_ready() <= index:
                self.take()
                self.cache.check_integrity()
            if not lease.is_open:
                return
            self.look(lease, index)
        self.at[id(lease)] = 0
        lease.rewind()
        self.cache.check_integrity()

    def some_units(self, lease: Lease) -> None:
        """As much of a step as can be done without waiting."""
        ready = lease.num_ready()
        for index in range(self.at[id(lease)], ready):
            self.look(lease, index)
        self.at[id(lease)] = max(self.at[id(lease)], ready) % len(lease.units)
        if self.at[id(lease)] == 0 and ready:
            lease.rewind()

    def look(self, lease: Lease, index: int) -> None:
        unit = lease.units[index]
        flat = lease.payload(index, lambda _, flat: flat)
        assert bytes(flat.numpy()) == content(unit.name, unit.size_bytes // PAGE)  # type: ignore[attr-defined]

    def drain(self) -> None:
        """Until nothing moves any more."""
        while any(self.cache._num_moving.values()):
            self.take()
            self.cache.check_integrity()


def content(name: str, num_pages: int) -> bytes:
    return hashlib.shake_256(name.encode()).digest(num_pages * PAGE)


def some_experts(chance: random.Random) -> dict[str, list[tuple[str, int]]]:
    """Five of various sizes, two with a common base; the sixth is larger than nine pages."""
    shared = [("common0", 2), ("common1", 1)]
    experts = {
        name: [*(shared if name in "ab" else ()), *((f"{name}{at}", chance.randrange(1, 4)) for at in range(2))]
        for name in "abcde"
    }
    return experts | {"x": [("common0", 2), *((f"x{at}", chance.randrange(1, 3)) for at in range(8))]}


TIERS = [(9, None), (9, 9), (4, 9), (24, 9)]
NAMES = ["cpu", "equal", "small host", "large host"]


@pytest.mark.parametrize("policy", ["value", "lru"])
@pytest.mark.parametrize("faulty", [False, True], ids=["well", "faulty"])
@pytest.mark.parametrize("tiers", TIERS, ids=NAMES)
@pytest.mark.parametrize("seed", range(2))
def test_bytes_and_books_are_right_after_every_event(
    tmp_path: Path,
    seed: int,
    tiers: tuple[int, int | None],
    faulty: bool,
    policy: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chance = random.Random(seed)
    owner = Owner(tmp_path, some_experts(chance), *tiers, policy)
    fill_disk_at_times(owner.faults, monkeypatch)
    for step in range(300):
        one_event(owner, chance, step)
        owner.cache.check_integrity()
        if faulty and chance.random() < 0.1:
            owner.faults.armed[chance.choice([*owner.faults.armed])] = chance.randrange(1, 3)
    assert bool(owner.failed) == faulty
    end_well(owner)


def one_event(owner: Owner, chance: random.Random, step: int) -> None:
    expert = chance.choice(list(owner.units))
    kind = chance.choices(
        ("lease", "close", "touch", "unload", "pin", "expect", "write", "some", "take", "step"),
        (25, 15, 10, 8, 6, 8, 4, 10, 8, 15),
    )[0]
    match kind:
        case "lease":
            owner.lease(expert)
        case "touch":
            owner.cache.touch(expert, float(step))
            owner.cache.asked(expert)
        case "unload":
            owner.cache.unload(expert, keeps_host=chance.random() < 0.5)
        case "pin":
            with contextlib.suppress(WeightsError):
                (owner.cache.pin if chance.random() < 0.4 else owner.cache.unpin)(expert)
        case "expect":  # replaces what was expected before: a prefetch is cancelled by that
            owner.cache.expect(chance.sample(list(owner.units), chance.randrange(4)))
        case "write" if not any(owner.cache._num_moving.values()):
            write_again(owner, chance.choice(owner.units[expert]))
        case "take" if any(owner.cache._num_moving.values()):
            owner.take()
    if owner.leases and kind in ("close", "some", "step"):
        lease = chance.choice(owner.leases)
        {"close": owner.close, "some": owner.some_units, "step": owner.step}[kind](lease)


def write_again(owner: Owner, unit: Unit) -> None:
    """Lose a unit's file and write it anew on a disk that may be full: then nothing is half there."""
    path = owner.store.path(unit)
    path.unlink(missing_ok=True)
    data = memoryview(content(unit.name, unit.size_bytes // PAGE))
    while owner.faults.armed["write"]:
        with pytest.raises(OSError, match="No space"):
            owner.store.put(data)
        assert not path.exists()
        assert not list((owner.store.folder / "tmp").iterdir())
    owner.store.put(data)


def fill_disk_at_times(faults: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fdatasync

    def fdatasync(fd: int) -> None:
        faults.strike("write", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        real(fd)

    monkeypatch.setattr(os, "fdatasync", fdatasync)


def end_well(owner: Owner) -> None:
    """When nothing goes wrong any more every expert runs, from the beginning, with the right bytes."""
    owner.faults.armed = dict.fromkeys(owner.faults.armed, 0)
    owner.cache.expect(())
    for lease in list(owner.leases):
        owner.close(lease)
    for expert in owner.units:
        owner.cache.unpin(expert)
    owner.drain()
    owner.failed.clear()
    for expert in (*owner.units, *owner.units):
        owner.lease(expert)
        owner.step(owner.leases[-1])
        owner.close(owner.leases[-1])
    assert owner.failed == set()
    owner.cache.close()


@pytest.mark.parametrize("tiers", [(9, None), (4, 9)], ids=["cpu", "emulated"])
@pytest.mark.parametrize("damage", ["short", "missing", "unaligned", "changed", "unreadable"])
def test_whatever_is_wrong_with_a_shared_file_fails_its_users_and_leaves_the_books_in_order(
    tmp_path: Path, tiers: tuple[int, int | None], damage: str
) -> None:
    owner = Owner(tmp_path, {"a": [("common", 2), ("a", 2)], "b": [("common", 2), ("b", 1)], "c": [("c", 4)]}, *tiers)
    file = owner.store.path(owner.units["a"][0])
    match damage:
        case "missing":
            file.unlink()
        case "changed":
            file.write_bytes(content("something else", 2))
        case "unreadable":
            file.unlink()
            file.mkdir()
        case _:
            os.truncate(file, PAGE if damage == "short" else PAGE + 100)
    for expert in "abc":
        owner.lease(expert)
    for lease in list(owner.leases):
        owner.step(lease)
        owner.cache.check_integrity()
    assert owner.failed == {"a", "b"}
    assert all("unit 'common' cannot be loaded" in error for error in owner.errors)
    assert [lease.expert for lease in owner.leases] == ["c"]
    if damage == "unreadable":
        file.rmdir()
    owner.unit("common", 2)
    for expert in "ab":
        owner.lease(expert)
        owner.step(owner.leases[-1])
        owner.close(owner.leases[-1])
    owner.cache.close()


def test_two_units_that_changed_places_are_found_by_the_first_load(tmp_path: Path) -> None:
    """Right length, right folder, wrong bytes: the seal is the file's own and went with it."""
    owner = Owner(tmp_path, {"a": [("a0", 2)], "b": [("b0", 2)], "c": [("c0", 2)]}, 9, None)
    a, b = (owner.store.path(owner.units[name][0]) for name in "ab")
    away = tmp_path / "away"
    a.rename(away)
    b.rename(a)
    away.rename(b)
    for expert in "abc":
        owner.lease(expert)
        owner.step(owner.leases[-1])
    assert owner.failed == {"a", "b"}
    assert all("does not hold the bytes" in error for error in owner.errors)


@pytest.mark.parametrize("rehash", [False, True])
def test_bytes_that_change_behind_the_file_system_are_found_when_every_load_is_hashed(
    tmp_path: Path, rehash: bool
) -> None:
    """What a dying disk does: other bytes, nothing else. Only hashing finds it, so it is an option with its price."""
    store = UnitStore(tmp_path, rehash=rehash)
    unit = Unit("u", store.put(memoryview(content("u", 1))), PAGE, ())
    times = store.path(unit).stat()
    store.path(unit).write_bytes(content("v", 1))
    os.utime(store.path(unit), ns=(times.st_atime_ns, times.st_mtime_ns))
    target = memoryview(bytearray(PAGE))
    for read in store.reads(unit, target):
        read()
    if not rehash:
        store.check(unit, target)
        assert store.verify(Manifest("", "", "", {}, {}, "", (unit,), {})) == [unit]
    else:
        with pytest.raises(ValueError, match="does not hold the bytes"):
            store.check(unit, target)


def test_pins_that_fill_the_device_leave_a_smaller_host_passable(tmp_path: Path) -> None:
    """Pins held the host tier too: with a host smaller than they are nothing else could pass through it, for ever."""
    owner = Owner(tmp_path, {"pinned": [("p0", 2), ("p1", 2)], "other": [("o0", 2), ("o1", 2)]}, 4, 8)
    owner.cache.pin("pinned")
    for expert in ("pinned", "other", "pinned"):
        owner.lease(expert)
        owner.step(owner.leases[-1])
    assert owner.cache.residency("pinned").is_pinned


def test_a_unit_that_can_never_pass_the_host_is_refused_with_both_sizes(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=rf"'big'.*{3 * PAGE:,}.*{2 * PAGE:,}"):
        Owner(tmp_path, {"x": [("small", 1), ("big", 3)]}, 2, 8)
