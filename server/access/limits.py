"""What a key may use: token buckets for requests and tokens a minute, and requests at the same time.

A bucket holds a minute's worth and refills evenly. A request is admitted by what is there; its tokens are taken as
they are counted, so that a bucket can fall below zero, and the next request waits until that is paid off. Pure: time
comes in as `now_s`, in seconds. Knows nothing about keys or HTTP.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from coe.errors import RateLimitError

__all__ = ["Allowance", "Bucket", "Limits", "in_words"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a key may use; None: as much as it likes. Tokens are those of prompts and of answers together."""

    max_concurrent: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


class Bucket:
    """A token bucket of `per_minute` that is full at first."""

    def __init__(self, per_minute: int, now_s: float) -> None:
        self.per_minute = per_minute
        self._level = float(per_minute)
        self._at_s = now_s

    def level(self, now_s: float) -> float:
        """Return what is there, negative where more was taken than there was."""
        refilled = (now_s - self._at_s) * self.per_minute / 60
        return min(float(self.per_minute), self._level + refilled)

    def take(self, amount: float, now_s: float) -> None:
        self._level, self._at_s = self.level(now_s) - amount, now_s

    def wait_s(self, amount: float, now_s: float) -> float:
        """Return the seconds until `amount` is there."""
        return max(0.0, (amount - self.level(now_s)) * 60 / self.per_minute)


class Allowance:
    """What one key has left. One thread may use it at a time."""

    def __init__(self, limits: Limits, now_s: float) -> None:
        self._max_concurrent = limits.max_concurrent
        self._num_running = 0
        self._requests = limits.requests_per_minute and Bucket(limits.requests_per_minute, now_s)
        self._tokens = limits.tokens_per_minute and Bucket(limits.tokens_per_minute, now_s)

    def admit(self, now_s: float) -> None:
        """Take in one request, which `release` ends; raises RateLimitError with the time until it may come."""
        for bucket, what in ((self._requests, "requests"), (self._tokens, "tokens")):
            if bucket and (wait_s := bucket.wait_s(1, now_s)) > 0:
                raise RateLimitError(
                    f"this key may use {bucket.per_minute} {what} a minute; ask again in {in_words(wait_s)}",
                    retry_after_s=wait_s,
                )
        if self._max_concurrent is not None and self._num_running >= self._max_concurrent:
            raise RateLimitError(
                f"this key may have {self._max_concurrent} requests at the same time; ask again when one has ended"
            )
        if self._requests:
            self._requests.take(1, now_s)
        self._num_running += 1

    def release(self) -> None:
        self._num_running -= 1

    def charge(self, num_tokens: int, now_s: float) -> None:
        """Take tokens that a request has used."""
        if self._tokens:
            self._tokens.take(num_tokens, now_s)

    def headers(self, now_s: float) -> dict[str, str]:
        """Return OpenAI's x-ratelimit headers for what is limited; `reset` is when all of it is there again."""
        found = {}
        for bucket, what in ((self._requests, "requests"), (self._tokens, "tokens")):
            if bucket:
                found[f"x-ratelimit-limit-{what}"] = str(bucket.per_minute)
                found[f"x-ratelimit-remaining-{what}"] = str(max(0, int(bucket.level(now_s))))
                found[f"x-ratelimit-reset-{what}"] = in_words(bucket.wait_s(bucket.per_minute, now_s))
        return found


def in_words(seconds: float) -> str:
    """Return a time as OpenAI's headers write it: 120ms, 7s, 1m30s."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
