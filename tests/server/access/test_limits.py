"""Allowances: what is admitted, what is refused until when, and what the headers say; time is a number."""

from __future__ import annotations

import pytest

from coe.errors import RateLimitError
from server.access.limits import Allowance, Bucket, Limits, in_words


def refused_s(allowance: Allowance, now_s: float) -> float:
    """The time until a refused request may come again."""
    with pytest.raises(RateLimitError) as caught:
        allowance.admit(now_s)
    return caught.value.retry_after_s


def test_a_bucket_refills_evenly_and_never_above_its_minute() -> None:
    bucket = Bucket(60, 0.0)
    bucket.take(60, 0.0)
    assert [bucket.level(at_s) for at_s in (0.0, 1.0, 30.0, 60.0, 1e6)] == [0, 1, 30, 60, 60]
    bucket.take(100, 1e6)
    assert bucket.level(1e6) == -40
    assert bucket.wait_s(1, 1e6) == 41


def test_requests_a_minute() -> None:
    allowance = Allowance(Limits(requests_per_minute=2), 0.0)
    for _ in range(2):
        allowance.admit(0.0)
        allowance.release()
    assert refused_s(allowance, 0.0) == 30
    assert refused_s(allowance, 29.0) == pytest.approx(1)
    allowance.admit(30.0)


def test_tokens_are_counted_as_they_come_and_what_is_too_much_is_paid_off_first() -> None:
    allowance = Allowance(Limits(tokens_per_minute=600), 0.0)
    allowance.admit(0.0)
    allowance.charge(700, 0.0)
    assert refused_s(allowance, 0.0) == pytest.approx(10.1)
    allowance.admit(10.2)


def test_requests_at_the_same_time() -> None:
    allowance = Allowance(Limits(max_concurrent=1), 0.0)
    allowance.admit(0.0)
    assert refused_s(allowance, 1e6) == 1
    allowance.release()
    allowance.admit(1e6)


def test_a_refused_request_takes_nothing() -> None:
    allowance = Allowance(Limits(max_concurrent=1, requests_per_minute=10), 0.0)
    allowance.admit(0.0)
    refused_s(allowance, 0.0)
    assert allowance.headers(0.0)["x-ratelimit-remaining-requests"] == "9"


def test_headers_say_what_is_limited_only() -> None:
    allowance = Allowance(Limits(tokens_per_minute=600), 0.0)
    allowance.charge(60, 0.0)
    assert allowance.headers(0.0) == {
        "x-ratelimit-limit-tokens": "600",
        "x-ratelimit-remaining-tokens": "540",
        "x-ratelimit-reset-tokens": "6s",
    }
    allowance.charge(6000, 0.0)
    assert allowance.headers(0.0)["x-ratelimit-remaining-tokens"] == "0"
    assert Allowance(Limits(), 0.0).headers(0.0) == {}


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.0, "0ms"), (0.12, "120ms"), (7, "7s"), (59.5, "1m0s"), (361, "6m1s")]
)
def test_times_are_written_as_openai_writes_them(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
