"""A load is told once from its start to its end; a lease of what is here is no load."""

from __future__ import annotations

from pathlib import Path

from weight_caches import SIZE, RealCache, names

from coe.telemetry.events import LoadEnded, LoadStarted, Resident
from coe.types import SwitchKind, Tier


def test_a_load_is_told_with_what_it_moves_and_a_lease_of_what_is_here_is_none(tmp_path: Path) -> None:
    real = RealCache(tmp_path, {"a": names("a", 3)}, host=8)
    with real.cache.lease("a") as lease:
        assert real.told == [LoadStarted("a", Tier.DISK, 3 * SIZE)]
        assert real.cache.report.switch_kind(lease) is SwitchKind.DISK_MISS
        real.settle(lease)
        ended = real.told[-1]
        assert isinstance(ended, LoadEnded)
        assert (ended.phase, ended.loaded_bytes) == ("done", 3 * SIZE)
        assert real.cache.report.switch_kind(lease) is SwitchKind.DISK_MISS
        lease.has_run = True
        assert real.cache.report.switch_kind(lease) is SwitchKind.DEVICE_HIT
    with real.cache.lease("a") as lease:
        assert real.cache.report.switch_kind(lease) is SwitchKind.DEVICE_HIT
    assert len(real.told) == 2


def test_a_lease_that_is_given_back_early_stops_its_load(tmp_path: Path) -> None:
    real = RealCache(tmp_path, {"a": names("a", 3)}, host=8)
    real.cache.lease("a").close()
    real.drain()
    assert [getattr(event, "phase", "") for event in real.told] == ["started", "stopped"]


def test_bytes_are_told_by_tier_while_they_move_and_when_they_have_left(tmp_path: Path) -> None:
    real = RealCache(tmp_path, {"a": ["shared", "a.1"], "b": ["shared", "b.1"]}, host=8, device=4)
    report = real.cache.report
    with real.cache.lease("a") as lease:
        assert report.take_changed() == {"a", "b"}
        assert report.resident("a")[Tier.HOST] == Resident(0, 2 * SIZE)
        real.settle(lease)
        assert report.resident("a") == {Tier.HOST: Resident(2 * SIZE, 0), Tier.DEVICE: Resident(2 * SIZE, 0)}
        assert report.resident("b")[Tier.DEVICE] == Resident(SIZE, 0)
    assert report.sharers("a") == {("b",): SIZE}
    real.cache.unload("a")
    assert report.take_changed() == {"a"} | {"b"}
    arrived = {tier: log.arrivals() for tier, log in report.logs().items()}
    assert arrived[Tier.HOST]["a"] == arrived[Tier.DEVICE]["a"] == (2, 2 * SIZE)
    assert report.logs()[Tier.DEVICE].evictions()["a", "unload"].bytes in (SIZE, 2 * SIZE)


def test_a_copy_from_the_host_is_a_host_hit(tmp_path: Path) -> None:
    real = RealCache(tmp_path, {"a": names("a", 2)}, host=8, device=4)
    with real.cache.lease("a") as lease:
        real.settle(lease)
    real.cache.unload("a", keeps_host=True)
    with real.cache.lease("a") as lease:
        assert real.told[-1] == LoadStarted("a", Tier.HOST, 2 * SIZE)
        assert real.cache.report.switch_kind(lease) is SwitchKind.HOST_HIT
        real.settle(lease)
        assert real.cache.report.switch_kind(lease) is SwitchKind.HOST_HIT
