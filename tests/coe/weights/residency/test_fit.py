"""Experts that can never run are refused before anything is loaded, with the sizes and what to change."""

from __future__ import annotations

import pytest

from coe.errors import WeightsError
from coe.weights.residency.fit import check_fits
from coe.weights.unit import Manifest, Unit


def manifest(*sizes: int) -> Manifest:
    units = tuple(Unit(f"layer.{at}", f"{at}", size, ()) for at, size in enumerate(sizes))
    return Manifest("x", "x", "float32", {}, {}, "", units, {})


def test_an_expert_that_fits_or_streams_through_is_accepted() -> None:
    check_fits("x", manifest(10, 10), host_bytes=10, device_bytes=20)
    check_fits("x", manifest(10, 10, 10, 10), host_bytes=10, device_bytes=30, is_streamable=True)


def test_one_that_runs_whole_and_is_larger_than_the_device_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"'x'.*take 40 bytes.*is 30; .*runs whole.*device_bytes"):
        check_fits("x", manifest(10, 10, 10, 10), host_bytes=40, device_bytes=30)


def test_one_whose_units_do_not_pass_through_the_device_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"even one unit at a time.*device_bytes"):
        check_fits("x", manifest(10, 20, 20, 10), host_bytes=40, device_bytes=49, is_streamable=True)


def test_one_with_a_unit_larger_than_the_host_is_refused_by_the_units_name() -> None:
    with pytest.raises(WeightsError, match=r"unit 'layer.1' takes 20 bytes and the host has 15.*host_bytes"):
        check_fits("x", manifest(10, 20), host_bytes=15, device_bytes=30)
