"""The weight cache with real files, real threads and real copies."""

from __future__ import annotations

import gc
import os
import random
from pathlib import Path
from queue import SimpleQueue

import pytest
from weight_caches import SIZE, MakeCache, RealCache, names

from coe.errors import WeightsError
from coe.types import SwitchKind, Tier
from coe.weights.cache import WeightCache
from coe.weights.memory.device import EmulatedDevice
from coe.weights.store.unit_store import UnitStore
from coe.weights.transfer import Arrived
from coe.weights.unit import Manifest, Unit


def test_bytes_are_those_of_the_store_also_after_eviction_and_reload(make: MakeCache) -> None:
    real = make({"a": names("a", 4), "b": names("b", 4)})
    for expert in ("a", "b", "a", "b"):
        with real.cache.lease(expert) as lease:
            assert real.settle(lease) == []
            assert lease.cost.kind is not SwitchKind.DEVICE_HIT
            assert real.content(expert) == real.expected(expert)
        real.cache.check_integrity()


def test_units_start_in_execution_order(tmp_path: Path) -> None:
    real = RealCache(tmp_path, {"a": names("a", 6)}, host=6)
    with real.cache.lease("a") as lease:
        real.settle(lease)
    assert real.store.started == names("a", 6)


def test_a_switch_moves_only_what_differs(make: MakeCache) -> None:
    real = make({"a": ["base", "a1"], "b": ["base", "b1"]})
    with real.cache.lease("a") as lease:
        real.settle(lease)
        assert lease.cost.disk_bytes == 2 * SIZE
    with real.cache.lease("b") as lease:
        real.settle(lease)
        assert lease.cost.disk_bytes == SIZE
    assert real.cache.report.residency("a").shared_bytes == SIZE


def test_host_hit_moves_no_disk_bytes(tmp_path: Path) -> None:
    real = RealCache(tmp_path, {"a": names("a", 2), "b": names("b", 2)}, host=4, device=2)
    for expert in ("a", "b"):
        with real.cache.lease(expert) as lease:
            real.settle(lease)
    with real.cache.lease("a") as lease:
        real.settle(lease)
        assert lease.cost.kind is SwitchKind.HOST_HIT
        assert real.content("a") == real.expected("a")
    assert real.cache.report.residency("b").tier is Tier.HOST


def hurt(file: Path, damage: str) -> None:
    """Damage a unit's file as disks and people do."""
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
def test_a_bad_file_fails_its_expert_by_name_and_no_other(make: MakeCache, damage: str) -> None:
    real = make({"good": names("g", 2), "bad": names("b", 3)})
    hurt(real.path("bad", 1), damage)
    bad = real.cache.lease("bad")
    failures = real.settle(bad)
    assert [failure.expert for failure in failures] == ["bad"]
    assert "'b1'" in str(failures[0].error)
    bad.close()
    with real.cache.lease("good") as lease:
        assert real.settle(lease) == []
        assert real.content("good") == real.expected("good")
    if damage == "unreadable":
        real.path("bad", 1).rmdir()
    real.unit("b1")
    with real.cache.lease("bad") as lease:  # the file is mended: so is the expert
        assert real.settle(lease) == []


def test_unload_frees_and_what_is_leased_stays(make: MakeCache) -> None:
    real = make({"a": names("a", 2), "b": names("b", 2)})
    with real.cache.lease("a") as lease:
        real.settle(lease)
        assert real.cache.unload("a") in (0, 2 * SIZE)  # host masters may go where there is a device
        assert real.cache.report.residency("a").device_bytes == 2 * SIZE
    real.cache.unload("a")
    assert real.cache.report.residency("a").tier is Tier.DISK


def test_pins_that_cannot_fit_together_are_refused(make: MakeCache) -> None:
    real = make({"a": names("a", 4), "b": names("b", 4)})
    real.cache.pin("a")
    with pytest.raises(WeightsError, match=r"'b'.*unpin"):
        real.cache.pin("b")


def test_an_expert_larger_than_the_budget_that_runs_whole_is_refused_with_both_sizes(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=f"{7 * SIZE:,}.*{6 * SIZE:,}.*runs whole"):
        RealCache(tmp_path, {"big": names("x", 7)}, host=6, streams=False)


def test_closing_a_lease_in_flight_loses_nothing(make: MakeCache) -> None:
    real = make({"a": names("a", 5), "b": names("b", 5)})
    real.cache.lease("a").close()
    with real.cache.lease("b") as lease:
        real.settle(lease)
        assert real.content("b") == real.expected("b")
    real.cache.check_integrity()


# -- memory


def test_a_thousand_random_loads_and_unloads_leave_the_process_as_large_as_it_was(tmp_path: Path) -> None:
    """Resident bytes after each hundred loads stay within 64 MB of those after the first hundred."""
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
