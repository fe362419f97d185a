"""Breakers keep an expert that fails again and again away from requests, and let one through now and then to try it.

A breaker opens at the third fault in a row and lets no request through for some seconds. Then it is half-open: the next
request is the probe. If the probe's step runs, the breaker closes; if it fails, the breaker opens for twice as long. A
probe that ends without a verdict (its client left) needs no word of it: after as long again the next one goes.
Source: M. Nygard, "Release It!", Circuit Breaker.

A fault is an ExpertError: a step that raises, weights that cannot be read, a template that cannot be rendered; not what
is wrong with a request, nor a full queue or a missed deadline. One fault that ends many requests counts once. Pure: the
time comes in. Owned by the engine thread; questions may be asked from any, an answer is one frozen value.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from coe.errors import BreakerOpenError, ExpertError
from coe.types import BreakerState

__all__ = ["Breaker", "Breakers"]

NUM_FAULTS = 3  # in a row: one may be bad luck, and an operator's retry
OPEN_S = 5.0
MAX_OPEN_S = 300.0


@dataclass(frozen=True, slots=True)
class Breaker:
    """One expert's faults since it last ran. `open_s` is 0 while it is closed; a probe may go at `probe_s`."""

    error: ExpertError | None = None
    num_faults: int = 0
    open_s: float = 0.0
    probe_s: float = 0.0
    is_probing: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it is open or half-open."""
        return self.open_s > 0

    def state(self, now_s: float) -> BreakerState:
        if not self.is_open:
            return "closed"
        return "half-open" if self.is_probing or now_s >= self.probe_s else "open"


class Breakers:
    """A breaker for each expert."""

    def __init__(self, experts: Iterable[str]) -> None:
        self._breakers = dict.fromkeys(experts, Breaker())

    # -- events

    def admitted(self, expert: str, now_s: float) -> None:
        """A request passes; it is the probe if the breaker is half-open."""
        breaker = self._breakers[expert]
        if breaker.is_open:
            self._breakers[expert] = replace(breaker, probe_s=now_s + breaker.open_s, is_probing=True)

    def failed(self, expert: str, error: ExpertError, now_s: float) -> Breaker:
        """Count a fault; returns the breaker, which may have opened."""
        was = self._breakers[expert]
        now = Breaker(error, was.num_faults + 1, was.open_s, was.probe_s)
        if was.state(now_s) == "half-open" or (not was.is_open and now.num_faults >= NUM_FAULTS):
            open_s = min(MAX_OPEN_S, 2 * was.open_s) if was.is_open else OPEN_S
            now = replace(now, open_s=open_s, probe_s=now_s + open_s)
        self._breakers[expert] = now
        return now

    def succeeded(self, expert: str) -> bool:
        """The expert has run, or all of it was loaded: forget its faults; True if that closes its breaker."""
        was = self._breakers[expert]
        if was.num_faults:
            self._breakers[expert] = Breaker()
        return was.is_open

    # -- questions

    def of(self, expert: str) -> Breaker:
        return self._breakers[expert]

    def outage(self, expert: str, now_s: float) -> BreakerOpenError | None:
        """Return what a request to the expert is refused with, None where it may pass."""
        breaker = self._breakers[expert]
        if not breaker.is_open or now_s >= breaker.probe_s:
            return None
        left_s, cause = breaker.probe_s - now_s, str(breaker.error).removeprefix(f"expert '{expert}': ")
        times = f"it failed {breaker.num_faults} times in a row and is left alone for {left_s:.0f} s more"
        return BreakerOpenError(expert, f"{times}; the last time: {cause}", left_s)

    def outages(self, now_s: float) -> frozenset[str]:
        """Return the experts that no request may pass to now."""
        return frozenset(name for name in self._breakers if self.outage(name, now_s))

    def states(self, now_s: float) -> dict[str, BreakerState]:
        return {name: breaker.state(now_s) for name, breaker in list(self._breakers.items())}
