"""How long a load will take at the speeds that were measured."""

from __future__ import annotations

import pytest

from coe.types import Tier
from coe.weights.residency.link_speeds import LinkSpeeds


def measured(disk_bytes_per_s: int, copy_bytes_per_s: int) -> LinkSpeeds:
    speeds = LinkSpeeds()
    for at in range(100):
        speeds.note(Tier.HOST, disk_bytes_per_s, float(at), at + 1.0)
        speeds.note(Tier.DEVICE, copy_bytes_per_s, float(at), at + 1.0)
    return speeds


def test_a_load_over_both_links_takes_as_long_as_the_slower_one() -> None:
    speeds = measured(disk_bytes_per_s=100, copy_bytes_per_s=1000)
    assert speeds.load_s(disk_bytes=50, copy_bytes=100) == pytest.approx(0.5)
    assert speeds.load_s(disk_bytes=0, copy_bytes=100) == pytest.approx(0.1)
    assert speeds.load_s(disk_bytes=50) == pytest.approx(0.5)


def test_a_byte_comes_back_at_the_speed_of_the_links_that_it_needs() -> None:
    speeds = measured(disk_bytes_per_s=100, copy_bytes_per_s=1000)
    assert speeds.host_s_per_byte() == pytest.approx(0.01)
    assert speeds.device_s_per_byte(is_on_host=True) == pytest.approx(0.001)
    assert speeds.device_s_per_byte(is_on_host=False) == pytest.approx(0.01)
    slow_copies = measured(disk_bytes_per_s=1000, copy_bytes_per_s=100)
    assert slow_copies.device_s_per_byte(is_on_host=False) == pytest.approx(0.01)
