"""Tokens and requests by the second, of the last minutes.

Owns a ring of seconds of unix time. One thread at a time may use it. Knows nothing about who counts or who looks.
"""

from __future__ import annotations

from collections import deque

from coe.telemetry.events import Second

__all__ = ["Throughput"]

KEPT_S = 300


class Throughput:
    """Seconds in which something was counted, the newest last."""

    def __init__(self) -> None:
        self._seconds: deque[list[int]] = deque(maxlen=KEPT_S)  # each: second, prompt, completion, requests

    def add(self, now_s: float, *, prompt_tokens: int = 0, completion_tokens: int = 0, requests: int = 0) -> None:
        """Count in the second of `now_s`, which is unix time; what comes late counts in the newest one."""
        second, kept = int(now_s), self._seconds
        if not kept or kept[-1][0] < second:
            kept.append([second, 0, 0, 0])
        last = kept[-1]
        last[1] += prompt_tokens
        last[2] += completion_tokens
        last[3] += requests

    def between(self, start_s: int, end_s: int) -> tuple[Second, ...]:
        """Return the seconds from `start_s` to before `end_s` in which something was counted."""
        return tuple(Second(*each) for each in self._seconds if start_s <= each[0] < end_s)
