"""Breakers: when they open, for how long, who may probe, and what closes them; time is a number."""

from __future__ import annotations

import pytest

from coe.errors import ExpertError
from coe.scheduling.breakers import MAX_OPEN_S, NUM_FAULTS, OPEN_S, Breakers

FAULT = ExpertError("a", "its step failed")


def opened(at_s: float = 0.0) -> Breakers:
    breakers = Breakers(["a", "b"])
    for _ in range(NUM_FAULTS):
        breakers.failed("a", FAULT, at_s)
    return breakers


def passes(breakers: Breakers, now_s: float) -> bool:
    """Whether a request to `a` is let through; it is taken in then."""
    if breakers.outage("a", now_s) is not None:
        return False
    breakers.admitted("a", now_s)
    return True


def test_it_opens_at_the_third_fault_in_a_row_and_not_before() -> None:
    breakers = Breakers(["a"])
    for _ in range(NUM_FAULTS - 1):
        assert not breakers.failed("a", FAULT, 0.0).is_open
        assert passes(breakers, 0.0)
    breakers.succeeded("a")
    for _ in range(NUM_FAULTS - 1):
        breakers.failed("a", FAULT, 0.0)
    assert breakers.of("a").state(0.0) == "closed"
    assert breakers.failed("a", FAULT, 0.0).is_open
    assert not passes(breakers, 0.0)


def test_one_experts_faults_are_no_others() -> None:
    breakers = opened()
    assert breakers.outages(0.0) == {"a"}
    assert breakers.states(0.0) == {"a": "open", "b": "closed"}
    assert breakers.of("b").error is None


def test_who_is_refused_hears_the_cause_and_when_to_come_back() -> None:
    outage = opened(10.0).outage("a", 11.0)
    assert outage is not None
    assert outage.retry_after_s == OPEN_S - 1
    assert str(outage) == (
        "expert 'a': it failed 3 times in a row and is left alone for 4 s more; the last time: its step failed"
    )


def test_half_open_lets_one_probe_through_and_its_success_closes() -> None:
    breakers = opened()
    assert breakers.of("a").state(OPEN_S) == "half-open"
    assert passes(breakers, OPEN_S)
    assert not passes(breakers, OPEN_S)
    assert breakers.of("a").state(OPEN_S) == "half-open"
    assert breakers.succeeded("a")
    assert breakers.of("a").state(OPEN_S) == "closed"
    assert passes(breakers, OPEN_S)
    assert not breakers.succeeded("a")


def test_a_failed_probe_opens_for_twice_as_long_up_to_a_bound() -> None:
    breakers, now_s, times = opened(), 0.0, []
    for _ in range(10):
        now_s = breakers.of("a").probe_s
        assert not passes(breakers, now_s - 0.001)
        assert passes(breakers, now_s)
        times.append(breakers.failed("a", FAULT, now_s).open_s)
    assert times[:3] == [2 * OPEN_S, 4 * OPEN_S, 8 * OPEN_S]
    assert times[-1] == MAX_OPEN_S


def test_a_fault_in_a_probes_time_counts_though_no_request_was_admitted() -> None:
    """An operator's load that fails, for one: at each the next request passed, and the breaker never opened again."""
    breakers = opened()
    assert passes(breakers, OPEN_S)
    for now_s, open_s in ((2 * OPEN_S, 2 * OPEN_S), (4 * OPEN_S, 4 * OPEN_S)):
        assert breakers.failed("a", FAULT, now_s).open_s == open_s
        assert not passes(breakers, now_s)


def test_after_a_success_the_next_opening_is_short_again() -> None:
    breakers = opened()
    assert passes(breakers, OPEN_S)
    breakers.failed("a", FAULT, OPEN_S)
    breakers.succeeded("a")
    for _ in range(NUM_FAULTS):
        breakers.failed("a", FAULT, 100.0)
    assert breakers.of("a").open_s == OPEN_S


def test_a_probe_without_a_verdict_makes_way_for_another_after_the_same_time() -> None:
    breakers = opened()
    assert passes(breakers, OPEN_S)  # its client leaves
    assert not passes(breakers, 2 * OPEN_S - 0.001)
    assert passes(breakers, 2 * OPEN_S)


def test_a_fault_while_open_that_no_probe_had_does_not_prolong_it() -> None:
    breakers = opened()
    breakers.failed("a", ExpertError("a", "an operator's load failed"), 2.0)
    assert breakers.of("a").probe_s == OPEN_S
    outage = breakers.outage("a", 2.0)
    assert outage is not None
    assert "an operator's load failed" in str(outage)


@pytest.mark.parametrize("now_s", [0.0, OPEN_S])
def test_a_success_of_any_request_closes_it(now_s: float) -> None:
    """One that was running when it opened, or an operator's load."""
    breakers = opened()
    assert breakers.succeeded("a")
    assert passes(breakers, now_s)
