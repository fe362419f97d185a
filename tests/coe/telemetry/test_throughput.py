"""Tokens by the second: each is counted in one second, and only the last minutes are kept."""

from __future__ import annotations

from coe.telemetry.events import Second
from coe.telemetry.throughput import KEPT_S, Throughput


def test_what_is_counted_stands_in_its_second() -> None:
    rate = Throughput()
    rate.add(10.2, prompt_tokens=5, completion_tokens=1)
    rate.add(10.9, completion_tokens=2, requests=1)
    rate.add(13.0, completion_tokens=4)
    assert rate.between(0, 14) == (Second(10, 5, 3, 1), Second(13, 0, 4, 0))
    assert rate.between(11, 13) == ()
    assert rate.between(10, 11) == (Second(10, 5, 3, 1),)


def test_what_comes_late_is_not_lost() -> None:
    rate = Throughput()
    rate.add(10.0, completion_tokens=1)
    rate.add(9.0, completion_tokens=1)
    assert rate.between(0, 99) == (Second(10, 0, 2, 0),)


def test_only_the_last_minutes_are_kept() -> None:
    rate = Throughput()
    for second in range(2 * KEPT_S):
        rate.add(second, completion_tokens=1)
    kept = rate.between(0, 2 * KEPT_S)
    assert (kept[0].second, len(kept)) == (KEPT_S, KEPT_S)
