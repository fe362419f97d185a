"""The weight cache with real files, real threads and real copies."""

from __future__ import annotations

import gc
import hashlib
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue

import pytest
import torch

from coe.errors import WeightsError
from coe.types import SwitchKind, Tier
from coe.weights.cache import WeightCache
from coe.weights.lease import Lease
from coe.weights.memory.allocation import SystemMemory
from coe.weights.memory.device import EmulatedDevice
from coe.weights.open_leases import ExpertFailure
from coe.weights.store.file_reads import read_into
from coe.weights.store.unit_store import UnitStore
from coe.weights.transfer import Arrived
from coe.weights.unit import ALIGNMENT, Manifest, Unit

SIZE = 8 * ALIGNMENT


class Store(UnitStore):
    """A real store that remembers the order in which reads began."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.started: list[str] = []

    def reads(self, unit: Unit, target: memoryview) -> Sequence[Callable[[], None]]:
        self.started.append(unit.name)
        return super().reads(unit, target)


class House:
    """A cache over units of random bytes; `settle` hands arrivals back until a lease is ready or has failed."""

    def __init__(
        self, folder: Path, experts: dict[str, list[str]], *, host: int, device: int | None = None, streams: bool = True
    ) -> None:
        self.store = Store(folder)
        self.events: SimpleQueue[Arrived] = SimpleQueue()
        self.bytes: dict[str, bytes] = {}
        emulated = None if device is None else EmulatedDevice(device * SIZE)
        self.cache = WeightCache(
            self.store,
            host_bytes=host * SIZE,
            device=emulated,
            device_bytes=(device or 0) * SIZE,
            post=self.events.put,
        )
        self.units = {name: tuple(self.unit(each) for each in names) for name, names in experts.items()}
        for name, units in self.units.items():
            self.cache.register(name, Manifest(name, name, "float32", {}, {}, "", units, {}), is_streamable=streams)

    def unit(self, name: str) -> Unit:
        self.bytes[name] = hashlib.shake_256(name.encode()).digest(SIZE)
        return Unit(name, self.store.put(memoryview(self.bytes[name])), SIZE, ())

    def path(self, expert: str, index: int) -> Path:
        return self.store.path(self.units[expert][index])

    def settle(self, lease: Lease) -> list[ExpertFailure]:
        failures: list[ExpertFailure] = []
        while not lease.is_ready and not failures:
            event = self.events.get(timeout=30)
            failures = self.cache.on_arrived(event)
            self.cache.check_integrity()
        return failures

    def content(self, expert: str) -> list[bytes]:
        return [
            bytes(self.cache._front.frames.payload(expert, unit, lambda _, flat: flat).numpy())  # type: ignore[attr-defined]
            for unit in self.units[expert]
        ]

    def expected(self, expert: str) -> list[bytes]:
        return [self.bytes[unit.name] for unit in self.units[expert]]


MakeHouse = Callable[..., House]


@pytest.fixture(params=[None, 6], ids=["cpu", "emulated"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> MakeHouse:
    return lambda experts, host=6: House(tmp_path, experts, host=host, device=request.param)


def names(expert: str, count: int) -> list[str]:
    return [f"{expert}{index}" for index in range(count)]


def test_bytes_are_those_of_the_store_also_after_eviction_and_reload(make: MakeHouse) -> None:
    house = make({"a": names("a", 4), "b": names("b", 4)})
    for expert in ("a", "b", "a", "b"):
        with house.cache.lease(expert) as lease:
            assert house.settle(lease) == []
            assert lease.cost.kind is not SwitchKind.DEVICE_HIT
            assert house.content(expert) == house.expected(expert)
        house.cache.check_integrity()


def test_units_start_in_execution_order(tmp_path: Path) -> None:
    house = House(tmp_path, {"a": names("a", 6)}, host=6)
    with house.cache.lease("a") as lease:
        house.settle(lease)
    assert house.store.started == names("a", 6)


def test_a_switch_moves_only_what_differs(make: MakeHouse) -> None:
    house = make({"a": ["base", "a1"], "b": ["base", "b1"]})
    with house.cache.lease("a") as lease:
        house.settle(lease)
        assert lease.cost.disk_bytes == 2 * SIZE
    with house.cache.lease("b") as lease:
        house.settle(lease)
        assert lease.cost.disk_bytes == SIZE
    assert house.cache.report.residency("a").shared_bytes == SIZE


def test_host_hit_moves_no_disk_bytes(tmp_path: Path) -> None:
    house = House(tmp_path, {"a": names("a", 2), "b": names("b", 2)}, host=4, device=2)
    for expert in ("a", "b"):
        with house.cache.lease(expert) as lease:
            house.settle(lease)
    with house.cache.lease("a") as lease:
        house.settle(lease)
        assert lease.cost.kind is SwitchKind.HOST_HIT
        assert house.content("a") == house.expected("a")
    assert house.cache.report.residency("b").tier is Tier.HOST


def hurt(file: Path, damage: str) -> None:
    """Do to a unit's file what disks and people do."""
    match damage:
        case "short":
            os.truncate(file, SIZE // 2)
        case "missing":
            file.unlink()
        case "changed":
            file.write_bytes(b"x" + file.read_bytes()[1:])
        case "swapped":
            file.rename(file.with_name("away"))
            next(other for other in file.parents[1].glob("*/*") if other.name != "away").rename(file)
        case "unreadable":
            file.unlink()
            file.mkdir()


@pytest.mark.parametrize("damage", ["short", "missing", "changed", "unreadable"])
def test_a_bad_file_fails_its_expert_by_name_and_no_other(make: MakeHouse, damage: str) -> None:
    house = make({"good": names("g", 2), "bad": names("b", 3)})
    hurt(house.path("bad", 1), damage)
    bad = house.cache.lease("bad")
    failures = house.settle(bad)
    assert [failure.expert for failure in failures] == ["bad"]
    assert "'b1'" in str(failures[0].error)
    bad.close()
    with house.cache.lease("good") as lease:
        assert house.settle(lease) == []
        assert house.content("good") == house.expected("good")
    if damage == "unreadable":
        house.path("bad", 1).rmdir()
    house.unit("b1")
    with house.cache.lease("bad") as lease:  # the file is mended: so is the expert
        assert house.settle(lease) == []


def test_unload_frees_and_what_is_leased_stays(make: MakeHouse) -> None:
    house = make({"a": names("a", 2), "b": names("b", 2)})
    with house.cache.lease("a") as lease:
        house.settle(lease)
        assert house.cache.unload("a") in (0, 2 * SIZE)  # host masters may go where there is a device
        assert house.cache.report.residency("a").device_bytes == 2 * SIZE
    house.cache.unload("a")
    assert house.cache.report.residency("a").tier is Tier.DISK


def test_pins_that_cannot_fit_together_are_refused(make: MakeHouse) -> None:
    house = make({"a": names("a", 4), "b": names("b", 4)})
    house.cache.pin("a")
    with pytest.raises(WeightsError, match=r"'b'.*unpin"):
        house.cache.pin("b")


def test_an_expert_larger_than_the_budget_that_runs_whole_is_refused_with_both_sizes(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=f"{7 * SIZE:,}.*{6 * SIZE:,}.*runs whole"):
        House(tmp_path, {"big": names("x", 7)}, host=6, streams=False)


def test_closing_a_lease_in_flight_loses_nothing(make: MakeHouse) -> None:
    house = make({"a": names("a", 5), "b": names("b", 5)})
    house.cache.lease("a").close()
    with house.cache.lease("b") as lease:
        house.settle(lease)
        assert house.content("b") == house.expected("b")
    house.cache.check_integrity()


def test_read_fills_the_target_from_cold_and_warm_pages(tmp_path: Path) -> None:
    file = tmp_path / "unit"
    content = os.urandom(5 * ALIGNMENT)
    file.write_bytes(content)
    fd = os.open(file, os.O_RDONLY)
    os.fsync(fd)
    for advice in (os.POSIX_FADV_NORMAL, os.POSIX_FADV_DONTNEED):
        os.posix_fadvise(fd, 0, 0, advice)
        frame = SystemMemory(4 * ALIGNMENT).bytes
        read_into(file, memoryview(frame.numpy()), ALIGNMENT)  # type: ignore[arg-type]
        assert torch.equal(frame, torch.frombuffer(bytearray(content[ALIGNMENT:]), dtype=torch.uint8))
    os.close(fd)
    for offset in (3 * ALIGNMENT, 9 * ALIGNMENT):  # a piece in which it ends, and one that lies behind its end
        with pytest.raises(EOFError, match=f"ends at byte {5 * ALIGNMENT}, {offset - ALIGNMENT} bytes short"):
            read_into(file, memoryview(frame.numpy()), offset)  # type: ignore[arg-type]


# -- prefetch


def drain(house: House) -> None:
    """Take in arrivals until nothing moves."""
    while house.cache._loader.is_busy:
        assert house.cache.on_arrived(house.events.get(timeout=30)) == []
        house.cache.check_integrity()


def test_what_is_expected_comes_closer_without_a_lease_in_execution_order(make: MakeHouse) -> None:
    house = make({"a": names("a", 4), "b": names("b", 2)})
    house.cache.expect(["a", "b"])
    drain(house)
    assert house.store.started == [*names("a", 4), *names("b", 2)]
    with house.cache.lease("a") as lease:
        assert lease.is_ready
        assert lease.cost.kind is SwitchKind.DEVICE_HIT


def test_over_the_copy_link_a_prefetch_leaves_the_embedding_for_last_as_a_lease_does(tmp_path: Path) -> None:
    house = House(tmp_path, {"a": names("a", 4)}, host=6, device=6)
    with house.cache.lease("a") as lease:
        house.settle(lease)
    house.cache.unload("a", keeps_host=True)
    house.cache.expect(["a"])
    drain(house)
    first, *layers = (unit.hash for unit in house.units["a"])
    assert list(house.cache._front.frames) == [*layers, first], "in the order in which their copies began"


def test_expecting_others_gives_a_prefetch_up(make: MakeHouse) -> None:
    house = make({"a": names("a", 6), "b": names("b", 4)})
    house.cache.expect(["a"])
    house.cache.expect(["b"])
    drain(house)
    assert house.store.started[-4:] == names("b", 4)
    assert len([name for name in house.store.started if name.startswith("a")]) <= 2, "what was under way, and no more"


def test_prefetch_waits_while_a_lease_needs_the_copy_link(make: MakeHouse) -> None:
    house = make({"a": names("a", 3), "b": names("b", 3)})
    lease = house.cache.lease("a")
    house.cache.expect(["b"])
    house.settle(lease)
    assert house.store.started[:3] == names("a", 3)
    drain(house)
    assert house.cache.report.residency("b").tier is Tier.DEVICE


def test_prefetch_takes_nothing_that_is_leased_pinned_or_wanted_sooner(make: MakeHouse) -> None:
    house = make({name: names(name, 2) for name in ("leased", "pinned", "soon", "late")})
    for name in ("leased", "pinned", "soon"):
        with house.cache.lease(name) as lease:
            house.settle(lease)
    house.cache.pin("pinned")
    with house.cache.lease("leased"):
        house.cache.expect(["soon", "late"])
        drain(house)
        assert [house.cache.report.residency(name).tier for name in ("leased", "pinned", "soon")] == [Tier.DEVICE] * 3
        assert house.cache.report.residency("late").device_bytes == 0


def test_prefetch_takes_the_room_of_what_is_worth_less(make: MakeHouse) -> None:
    house = make({name: names(name, 3) for name in ("hot", "cold", "next")})
    for name in ("hot", "cold"):
        with house.cache.lease(name) as lease:
            house.settle(lease)
    for _ in range(5):
        house.cache.count_request("hot")
    house.cache.expect(["next"])
    drain(house)
    tiers = {name: house.cache.report.residency(name).tier for name in ("hot", "cold", "next")}
    assert tiers == {"hot": Tier.DEVICE, "cold": Tier.DISK, "next": Tier.DEVICE}


def test_a_prefetch_that_fails_is_given_up_and_fails_nobody(make: MakeHouse) -> None:
    """Tried again at once, it failed again at once, for ever."""
    house = make({"bad": names("b", 2), "good": names("g", 2)})
    house.path("bad", 1).unlink()
    house.cache.expect(["bad", "good"])
    drain(house)
    assert house.cache.report.residency("good").tier is Tier.DEVICE
    assert house.store.started.count("b1") == 1
    with house.cache.lease("bad") as lease:
        assert [failure.expert for failure in house.settle(lease)] == ["bad"]


# -- memory


def test_a_thousand_random_loads_and_unloads_leave_the_process_as_large_as_it_was(tmp_path: Path) -> None:
    """Bytes, not time: the peak of the first round is the level, and what comes later stays within 64 MB of it."""
    chance = random.Random(0)
    big = 1 << 20
    store = UnitStore(tmp_path)
    events: SimpleQueue[Arrived] = SimpleQueue()
    cache = WeightCache(
        store, host_bytes=40 * big, device=EmulatedDevice(24 * big), device_bytes=24 * big, post=events.put
    )
    for number in range(12):
        units = []
        for index in range(3):
            size = chance.randrange(1, 8) * (big // 2)
            units.append(Unit(f"{index}", store.put(memoryview(chance.randbytes(size))), size, ()))
        cache.register(f"{number}", Manifest(f"{number}", "", "float32", {}, {}, "", tuple(units), {}))
    levels = []
    for load in range(1000):
        name = f"{chance.randrange(12)}"
        with cache.lease(name) as lease:
            while not lease.is_ready:
                assert cache.on_arrived(events.get(timeout=60)) == []
            lease.payload(0, lambda _, flat: flat)
        if chance.random() < 0.5:
            cache.unload(f"{chance.randrange(12)}", keeps_host=chance.random() < 0.5)
        if load % 100 == 99:
            levels.append(resident_set_bytes())
    assert max(levels[1:]) - levels[0] < 64e6
    cache.close()
    gc.collect()
    assert resident_set_bytes() < levels[0] - 40e6, "what the cache held went back to the system"


def resident_set_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# -- the embedding over the copy link


def test_over_a_copy_link_the_first_unit_runs_from_its_host_bytes_and_travels_last(tmp_path: Path) -> None:
    house = House(tmp_path, {"a": names("a", 4), "b": names("b", 4)}, host=8, device=4)
    for expert in ("a", "b"):
        with house.cache.lease(expert) as lease:
            house.settle(lease)
    with house.cache.lease("a") as lease:
        arrived = set()
        assert lease.num_ready() == 1, "the rows can be taken from the host at once"
        assert bytes(lease.payload(0, lambda _, flat: flat).numpy()) == house.bytes["a0"]  # type: ignore[attr-defined]
        while not lease.is_ready:
            event = house.events.get(timeout=30)
            arrived.add(house.cache._units[event.unit_hash].name)
            assert house.cache.on_arrived(event) == []
            house.cache.check_integrity()
            assert lease.num_ready() < 4 or "a0" in arrived, "the last unit computes with the first one's matrix"
        started = [house.cache._units[digest].name for digest in house.cache._front.frames]
        assert started == ["a1", "a2", "a3", "a0"]
        assert house.content("a") == house.expected("a")


def test_a_host_too_small_to_keep_the_first_unit_lets_it_travel_before(tmp_path: Path) -> None:
    house = House(tmp_path, {"a": names("a", 4)}, host=1, device=4)
    with house.cache.lease("a") as lease:
        assert house.settle(lease) == []
        assert house.content("a") == house.expected("a")
