"""What the cache says of its experts: where their bytes are, what they have cost, how long a load would take."""

from __future__ import annotations

from pathlib import Path

import pytest
from weight_caches import SIZE, RealCache, names

from coe.types import Tier


def test_an_expert_is_where_all_its_bytes_are_and_each_unit_says_its_own_tier(tmp_path: Path) -> None:
    real = RealCache(tmp_path, {"a": ["base", "a1"], "b": ["base", "b1"]}, host=3, device=3)
    report = real.cache.report
    assert report.residency("a").tier is Tier.DISK
    with real.cache.lease("a") as lease:
        real.settle(lease)
    assert report.residency("a").tier is Tier.DEVICE
    assert [(unit.name, unit.tier, unit.is_shared) for unit in report.unit_statuses("b")] == [
        ("base", Tier.DEVICE, True),
        ("b1", Tier.DISK, False),
    ]
    assert (report.residency("b").tier, report.residency("b").device_bytes) == (Tier.DISK, SIZE)
    real.cache.unload("a", keeps_host=True)
    assert report.residency("a").tier is Tier.HOST
    assert report.used_bytes() == {Tier.HOST: 2 * SIZE, Tier.DEVICE: 0}
    assert report.budget_bytes() == {Tier.HOST: 3 * SIZE, Tier.DEVICE: 3 * SIZE}


def test_only_leases_that_moved_bytes_count_as_loads(tmp_path: Path) -> None:
    real = RealCache(tmp_path, {"a": names("a", 2)}, host=2)
    for _ in range(2):
        with real.cache.lease("a") as lease:
            real.settle(lease)
            assert real.cache.report.residency("a").num_leases == 1
    found = real.cache.report.residency("a")
    assert (found.num_leases, found.num_loads, found.loaded_bytes) == (0, 1, 2 * SIZE)
    assert found.load_s > 0.0


def test_a_load_takes_no_time_once_all_is_there(tmp_path: Path) -> None:
    real = RealCache(tmp_path, {"a": names("a", 2)}, host=2, device=2)
    report = real.cache.report
    assert report.load_s("a") == pytest.approx(2 * SIZE / 1e9), "nothing measured yet: the guess for a disk"
    real.cache.expect(["a"])
    real.drain()
    assert report.load_s("a") == 0.0
    assert report.num_leading("a") == 2
