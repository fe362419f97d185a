"""A long random run over the real cache, a real store and real copies: books balance and bytes are right throughout.

The owner here does as the engine does: it leases only what `can_lease` allows, closes failed leases and hands arrivals
back. The host may be smaller than the device, and one expert is larger than the device. Faults are real where a file
can have them (short, missing, changed, unreadable) and injected where a machine would have to break (I/O error, full
disk, no memory, a copy that fails).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import random
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue

import pytest
import torch

from coe.errors import WeightsError
from coe.weights.cache import WeightCache
from coe.weights.lease import Lease
from coe.weights.memory.allocation import SystemMemory
from coe.weights.memory.arena import Arena
from coe.weights.memory.device import CopyDevice, EmulatedDevice, StreamDevice
from coe.weights.memory.extents import Move
from coe.weights.store.unit_store import UnitStore
from coe.weights.transfer import Arrived
from coe.weights.unit import ALIGNMENT, Manifest, Unit

PAGE = ALIGNMENT


class Faults:
    """How many of the next reads, copies and writes fail."""

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
    """Uses a cache as the engine thread does, in the order that a test asks for."""

    def __init__(
        self,
        folder: Path,
        experts: dict[str, list[tuple[str, int]]],
        host: int,
        device: int | None,
        eviction: str = "value",
        make_device: Callable[[int, Faults], CopyDevice] | None = None,
    ) -> None:
        self.faults = Faults()
        make_device = make_device or Device
        self.store = Store(folder, self.faults)
        self.inbox: SimpleQueue[Arrived] = SimpleQueue()
        self.cache = WeightCache(
            self.store,
            host_bytes=host * PAGE,
            device=None if device is None else make_device(device * PAGE, self.faults),
            device_bytes=(device or 0) * PAGE,
            post=self.inbox.put,
            eviction=eviction,
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
        if self.cache.can_lease(expert):
            self.leases.append(self.cache.lease(expert))
            self.at[id(self.leases[-1])] = 0

    def close(self, lease: Lease) -> None:
        self.leases.remove(lease)
        lease.close()

    def take(self) -> None:
        """Wait for one arrival, which must be under way, and take it in."""
        for failure in self.cache.on_arrived(self.inbox.get(timeout=60)):
            self.failed.add(failure.expert)
            self.errors.append(str(failure.error))
            for lease in [lease for lease in self.leases if lease.expert == failure.expert]:
                self.close(lease)

    def step(self, lease: Lease) -> None:
        """Run a whole step and compare the bytes of its units; a load that stopped moving would wait here for ever."""
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
        """Run as much of a step as is possible without waiting."""
        ready = lease.num_ready()
        for index in range(self.at[id(lease)], ready):
            self.look(lease, index)
        self.at[id(lease)] = max(self.at[id(lease)], ready) % len(lease.units)
        if self.at[id(lease)] == 0 and ready:
            lease.rewind()

    def look(self, lease: Lease, index: int) -> None:
        unit = lease.units[index]
        flat = lease.payload(index, lambda _, flat: flat)
        assert isinstance(flat, torch.Tensor)
        self.read(flat, content(unit.name, unit.size_bytes // PAGE))

    def read(self, flat: torch.Tensor, expected: bytes) -> None:
        """Read bytes as a kernel does."""
        assert bytes(flat.numpy()) == expected

    def end(self) -> None:
        self.cache.close()

    def drain(self) -> None:
        """Take arrivals in until nothing moves."""
        while self.cache._loader.is_busy:
            self.take()
            self.cache.check_integrity()


def content(name: str, num_pages: int) -> bytes:
    return hashlib.shake_256(name.encode()).digest(num_pages * PAGE)


def some_experts(chance: random.Random) -> dict[str, list[tuple[str, int]]]:
    """Five experts of various sizes, two with a common base; the sixth is larger than nine pages."""
    shared = [("common0", 2), ("common1", 1)]
    experts = {
        name: [*(shared if name in "ab" else ()), *((f"{name}{at}", chance.randrange(1, 4)) for at in range(2))]
        for name in "abcde"
    }
    return experts | {"x": [("common0", 2), *((f"x{at}", chance.randrange(1, 3)) for at in range(8))]}


TIERS = [(9, None), (9, 9), (4, 9), (24, 9)]
NAMES = ["cpu", "equal", "small host", "large host"]


@pytest.mark.parametrize("eviction", ["value", "lru"])
@pytest.mark.parametrize("faulty", [False, True], ids=["well", "faulty"])
@pytest.mark.parametrize("tiers", TIERS, ids=NAMES)
@pytest.mark.parametrize("seed", range(2))
def test_bytes_and_books_are_right_after_every_event(
    tmp_path: Path,
    seed: int,
    tiers: tuple[int, int | None],
    faulty: bool,
    eviction: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chance = random.Random(seed)
    owner = Owner(tmp_path, some_experts(chance), *tiers, eviction)
    fill_disk_at_times(owner.faults, monkeypatch)
    for step in range(300):
        one_event(owner, chance, step)
        owner.cache.check_integrity()
        if faulty and chance.random() < 0.1:
            owner.faults.armed[chance.choice(["read", "read", "copy", "write"])] = chance.randrange(1, 3)
    owner.drain()
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
            owner.cache.count_request(expert)
        case "unload":
            owner.cache.unload(expert, keeps_host=chance.random() < 0.5)
        case "pin":
            with contextlib.suppress(WeightsError):
                (owner.cache.pin if chance.random() < 0.4 else owner.cache.unpin)(expert)
        case "expect":  # replaces what was expected before: a prefetch is cancelled by that
            owner.cache.expect(chance.sample(list(owner.units), chance.randrange(4)))
        case "write" if not owner.cache._loader.is_busy:
            write_again(owner, chance.choice(owner.units[expert]))
        case "take" if owner.cache._loader.is_busy:
            owner.take()
    if owner.leases and kind in ("close", "some", "step"):
        lease = chance.choice(owner.leases)
        {"close": owner.close, "some": owner.some_units, "step": owner.step}[kind](lease)


def write_again(owner: Owner, unit: Unit) -> None:
    """Lose a unit's file and write it anew; a full disk leaves no half-written file."""
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
    """Without faults, every expert runs again from its first unit with the right bytes."""
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
    owner.end()


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
    """The length and the folder are right and the bytes wrong: the seal moved with its file."""
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
    """A dying disk changes bytes and nothing else. Only hashing finds that, so it is an option with its price."""
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
    """Pins kept units in the host tier too: nothing else could pass through a host smaller than the pinned experts."""
    owner = Owner(tmp_path, {"pinned": [("p0", 2), ("p1", 2)], "other": [("o0", 2), ("o1", 2)]}, 4, 8)
    owner.cache.pin("pinned")
    for expert in ("pinned", "other", "pinned"):
        owner.lease(expert)
        owner.step(owner.leases[-1])
    assert owner.cache.report.residency("pinned").is_pinned


def test_a_unit_that_can_never_pass_the_host_is_refused_with_both_sizes(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=rf"'big'.*{3 * PAGE:,}.*{2 * PAGE:,}"):
        Owner(tmp_path, {"x": [("small", 1), ("big", 3)]}, 2, 8)


# -- a device that works when it likes: what has to wait for what


class Point:
    """An event that is over when the queue has come to it."""

    def __init__(self) -> None:
        self._over = threading.Event()

    def query(self) -> bool:
        return self._over.is_set()

    def synchronize(self) -> None:
        assert self._over.wait(60)

    def pass_by(self) -> None:
        self._over.set()


class Queues:
    """Two queues, copies and compute: `work` takes from either at random, and each keeps its order."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.copies: deque[Point | Callable[[], object]] = deque()
        self.compute: deque[Point | Callable[[], object]] = deque()

    def copy(self, source: torch.Tensor, target: torch.Tensor, after: Point | None) -> Point:
        if after is not None:
            self.copies.append(after)
        end = Point()
        self.copies.append(lambda: (target.copy_(source), end.pass_by()))
        return end

    def mark(self) -> Point:
        point = Point()
        self.compute.append(point.pass_by)
        return point

    def join(self, event: Point) -> None:
        self.compute.append(event)

    def work(self) -> bool:
        """Do the next piece of one of the queues; returns False if neither can go on."""
        ready = [each for each in (self.copies, self.compute) if each and self._is_ready(each[0])]
        if ready:
            piece = self._chance.choice(ready).popleft()
            if not isinstance(piece, Point):
                piece()
        return bool(ready)

    @staticmethod
    def _is_ready(piece: Point | Callable[[], object]) -> bool:
        return not isinstance(piece, Point) or piece.query()


class QueuedArena(Arena):
    """Moves frames in the compute queue, as a device does."""

    def __init__(self, size_bytes: int, queues: Queues) -> None:
        super().__init__(SystemMemory(size_bytes))
        self._queues = queues

    def _move(self, move: Move) -> None:
        self._queues.compute.append(lambda: super(QueuedArena, self)._move(move))


class QueuedDevice(StreamDevice[Point]):
    def __init__(self, size_bytes: int, faults: Faults, queues: Queues) -> None:
        self.memory = QueuedArena(size_bytes, queues)
        super().__init__(self.memory, queues)
        self.faults = faults

    def begin(self, source: torch.Tensor, target: torch.Tensor) -> Callable[[], None]:
        self.faults.strike("copy", RuntimeError("unspecified launch failure"))
        return super().begin(source, target)


class QueuedOwner(Owner):
    """Its kernels read when the device comes to them, long after the cache has gone on."""

    def __init__(self, folder: Path, experts: dict[str, list[tuple[str, int]]], seed: int, host: int) -> None:
        self.queues = Queues(random.Random(seed))
        self.num_reads = 0

        def make(size_bytes: int, faults: Faults) -> CopyDevice:
            self.device = QueuedDevice(size_bytes, faults, self.queues)
            return self.device

        super().__init__(folder, experts, host, 9, make_device=make)

    def read(self, flat: torch.Tensor, expected: bytes) -> None:
        if flat.untyped_storage().data_ptr() != self.device.memory._memory.bytes.untyped_storage().data_ptr():
            super().read(flat, expected)  # rows of the first unit, taken from the host at once
            return

        def kernel() -> None:
            self.num_reads += 1
            assert bytes(flat.numpy()) == expected, "a queued kernel read bytes that were not its own"

        self.queues.compute.append(kernel)

    def take(self) -> None:
        while self.inbox.empty() and self.queues.work():
            pass
        super().take()

    def end(self) -> None:
        while self.queues.work():
            pass
        assert not self.queues.copies
        assert not self.queues.compute, "compute waits for a copy that never was"
        super().end()


@pytest.mark.parametrize("faulty", [False, True], ids=["well", "faulty"])
@pytest.mark.parametrize("host", [4, 24], ids=["small host", "large host"])
@pytest.mark.parametrize("seed", range(3))
def test_a_kernel_reads_its_own_bytes_however_late_it_comes(
    tmp_path: Path, seed: int, host: int, faulty: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Units are evicted, overwritten and moved while compute is queued; in the queues' order it reads its own bytes."""
    chance = random.Random(seed)
    owner = QueuedOwner(tmp_path, some_experts(chance), seed, host)
    fill_disk_at_times(owner.faults, monkeypatch)
    for step in range(300):
        one_event(owner, chance, step)
        owner.cache.check_integrity()
        for _ in range(chance.choice([0, 0, 0, 1, 5])):
            owner.queues.work()
        if faulty and chance.random() < 0.1:
            owner.faults.armed[chance.choice(["read", "read", "copy", "write"])] = chance.randrange(1, 3)
    end_well(owner)
    assert owner.num_reads > 40


# -- room in one piece, and the same places again


@pytest.mark.parametrize("tiers", [(6, None), (12, 6)], ids=["cpu", "emulated"])
def test_free_bytes_that_are_scattered_between_pins_and_leases_are_had_by_moving_those(
    tmp_path: Path, tiers: tuple[int, int | None]
) -> None:
    """The lease fits by the books and no unit may leave: without moving some it would wait for ever."""
    experts = {"pinned": [("p0", 1)], "x": [("x0", 2)], "leased": [("l0", 1)], "y": [("y0", 2)], "big": [("z0", 4)]}
    owner = Owner(tmp_path, experts, *tiers)
    owner.cache.pin("pinned")
    for expert in ("pinned", "x", "leased", "y"):
        owner.lease(expert)
        owner.step(owner.leases[-1])
    leased = owner.leases[2]
    for lease in list(owner.leases):
        if lease is not leased:
            owner.close(lease)
    for expert in ("x", "y"):
        owner.cache.unload(expert)
    before = bound_at(owner, leased)
    owner.lease("big")
    owner.step(owner.leases[-1])
    for expert in ("pinned", "leased"):
        assert owner.cache.report.residency(expert).device_bytes == PAGE
    owner.step(leased)
    assert bound_at(owner, leased) != before, "it has moved, and what was bound to it was bound anew"
    owner.lease("pinned")
    owner.step(owner.leases[-1])
    owner.cache.check_integrity()


@pytest.mark.parametrize("tiers", [(6, None), (12, 6)], ids=["cpu", "emulated"])
def test_more_is_evicted_before_anything_moves(tmp_path: Path, tiers: tuple[int, int | None]) -> None:
    """Once the least valuable unit has left, two pages are free by the books; its neighbour makes them one piece."""
    experts = {name: [(f"{name}0", 1)] for name in "abcdef"} | {"big": [("z0", 2)]}
    owner = Owner(tmp_path, experts, *tiers, "lru")
    for at, expert in enumerate("abcdef"):
        owner.lease(expert)
        owner.step(owner.leases[-1])
        owner.close(owner.leases[-1])
        owner.cache.touch(expert, [1.0, 8.0, 2.0, 9.0, 7.0, 3.0][at])
    owner.lease("big")
    owner.step(owner.leases[-1])
    here = [expert for expert in "abcdef" if owner.cache.report.residency(expert).device_bytes]
    assert here == ["d", "e", "f"], "a and c by their worth, and b, which lies between them"


def test_experts_of_one_shape_take_turns_at_the_same_addresses(tmp_path: Path) -> None:
    """One of them fits at a time: a graph captured over its addresses serves all experts of that shape."""
    store, inbox = UnitStore(tmp_path), SimpleQueue[Arrived]()
    cache = WeightCache(
        store, host_bytes=99 * PAGE, device=EmulatedDevice(9 * PAGE), device_bytes=9 * PAGE, post=inbox.put
    )
    shape, other = [("embed", 3), ("layer.0", 2), ("layer.1", 2), ("head", 1)], [("embed", 2), ("layer.0", 5)]
    for expert in ("a", "b", "c", "x"):
        units = tuple(
            Unit(name, store.put(memoryview(content(f"{expert}{name}", size))), size * PAGE, ())
            for name, size in (other if expert == "x" else shape)
        )
        cache.register(expert, Manifest(expert, "", "float32", {}, {}, "", units, {}), is_streamable=True)

    def addresses(expert: str) -> list[int]:
        with cache.lease(expert) as lease:
            while not lease.is_ready:
                assert cache.on_arrived(inbox.get(timeout=60)) == []
                cache.check_integrity()
            return [lease.payload(at, lambda _, flat: flat).data_ptr() for at in range(len(lease.units))]  # type: ignore[attr-defined]

    first = addresses("a")
    assert [addresses(expert) for expert in "bcab"] == [first] * 4
    addresses("x")
    second = addresses("a")
    assert [addresses(expert) for expert in "bca"] == [second] * 3
    cache.close()


def bound_at(owner: Owner, lease: Lease) -> list[int]:
    return [owner.cache._front.frames[unit.hash].bytes.data_ptr() for unit in lease.units]
