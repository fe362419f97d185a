"""Asking again: which failures are worth it, how long to wait before, and httpx clients that do it.

Asked again is what the server has not taken: answers 429 and 503, and connections that were never made. What broke
after the request was sent is not, because it may have been done. Waits grow exponentially, with jitter, so that clients
that were refused together do not come back together; a Retry-After (RFC 9110, 10.2.3) is a wait's least. Knows nothing
about what is asked.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

__all__ = ["AsyncRetryingHttp", "Retries", "RetryingHttp", "retry_after_s"]

log = logging.getLogger(__name__)

RETRIED_STATUSES = frozenset({429, 503})
NOTHING_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
LONGEST_WAIT_S = 8.0  # of those that grow
LONGEST_RETRY_AFTER_S = 60.0  # a caller rather hears of a longer one


@dataclass(frozen=True, slots=True)
class Retries:
    """How often to ask again, and how long to wait before: about `first_wait_s`, then twice that, and so on."""

    max_retries: int = 2
    first_wait_s: float = 0.5

    def wait_s(self, num_failed: int, retry_after_s: float | None = None, chance: float | None = None) -> float | None:
        """Return the seconds to wait after so many failed attempts; None where it is not to be asked again.

        `chance`, in 0 … 1, is drawn where it is not given. A wait is at least half of its longest.
        """
        if num_failed > self.max_retries:
            return None
        drawn = random.random() if chance is None else chance
        longest_s = min(LONGEST_WAIT_S, self.first_wait_s * 2.0 ** (num_failed - 1))
        if retry_after_s is None:
            return longest_s * (1 + drawn) / 2
        return None if retry_after_s > LONGEST_RETRY_AFTER_S else retry_after_s + self.first_wait_s * drawn

    def after_answer(self, num_failed: int, response: httpx.Response) -> float | None:
        """Return the seconds to wait before the request of an answer is sent again, None where the answer is final."""
        if response.status_code not in RETRIED_STATUSES:
            return None
        wait_s = self.wait_s(num_failed, retry_after_s(response.headers))
        return _noted(wait_s, response.request, f"the server answered {response.status_code}")

    def after_error(self, num_failed: int, error: httpx.TransportError) -> float | None:
        """Return the seconds to wait before a request of which nothing was sent is sent again, None to give up."""
        return _noted(self.wait_s(num_failed), error.request, str(error) or type(error).__name__)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a Retry-After asks for, as a number or a date; None without one that can be read."""
    written = headers.get("retry-after", "").strip()
    if written.isdecimal():
        return float(written)
    try:
        return max(0.0, parsedate_to_datetime(written).timestamp() - time.time())
    except ValueError:
        return None


class RetryingHttp(httpx.Client):
    """An httpx client that asks again."""

    def __init__(self, retries: Retries, **options: Any) -> None:
        super().__init__(**options)
        self._retries = retries

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Send a request, and again while its failure is worth it; the last failure is the caller's."""
        for num_failed in itertools.count(1):
            try:
                response = super().send(request, **options)
            except NOTHING_SENT as error:
                wait_s = self._retries.after_error(num_failed, error)
                if wait_s is None:
                    raise
            else:
                wait_s = self._retries.after_answer(num_failed, response)
                if wait_s is None:
                    return response
                response.close()
            time.sleep(wait_s)
        raise AssertionError("itertools.count ends never")


class AsyncRetryingHttp(httpx.AsyncClient):
    """`RetryingHttp`, awaited."""

    def __init__(self, retries: Retries, **options: Any) -> None:
        super().__init__(**options)
        self._retries = retries

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        for num_failed in itertools.count(1):
            try:
                response = await super().send(request, **options)
            except NOTHING_SENT as error:
                wait_s = self._retries.after_error(num_failed, error)
                if wait_s is None:
                    raise
            else:
                wait_s = self._retries.after_answer(num_failed, response)
                if wait_s is None:
                    return response
                await response.aclose()
            await asyncio.sleep(wait_s)
        raise AssertionError("itertools.count ends never")


def _noted(wait_s: float | None, request: httpx.Request, why: str) -> float | None:
    if wait_s is not None:
        log.info("retry %s %s in %.1f s: %s", request.method, request.url.path, wait_s, why)
    return wait_s
