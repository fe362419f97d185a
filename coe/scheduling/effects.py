"""What the scheduler decides: frozen effects, and the Schedule that they come in.

The engine carries them out in order. An effect names experts and jobs by id; it holds no state, no tensor and no
callback, so a schedule can be compared, logged and replayed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from coe.errors import CoeError

__all__ = [
    "CANCELLED",
    "Abandon",
    "Acquire",
    "Effect",
    "Expect",
    "Fail",
    "Preempt",
    "Release",
    "Resume",
    "Run",
    "Schedule",
]

CANCELLED = "the request was cancelled"  # message of the CancelledError that ends a cancelled job


@dataclass(frozen=True, slots=True)
class Acquire:
    """Lease this expert; its absent units start moving."""

    expert: str


@dataclass(frozen=True, slots=True)
class Release:
    """Close this expert's lease."""

    expert: str


@dataclass(frozen=True, slots=True)
class Run:
    """Begin a step of one expert; each job brings so many of its tokens."""

    expert: str
    num_tokens: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Resume:
    """Continue this expert's step, which stopped at an absent unit that has arrived since."""

    expert: str


@dataclass(frozen=True, slots=True)
class Abandon:
    """End this expert's step, which waits for weights: every job in it was cancelled or has expired."""

    expert: str


@dataclass(frozen=True, slots=True)
class Preempt:
    """Free the KV of a job that is in no step; the job waits again and its KV is recomputed."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Expect:
    """The experts to be leased next, soonest first: their weights may move closer. Replaces the last Expect."""

    experts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fail:
    """End a job with an error."""

    job_id: str
    error: CoeError


Effect = Abandon | Acquire | Expect | Fail | Preempt | Release | Resume | Run


@dataclass(frozen=True, slots=True)
class Schedule:
    """Effects in the order to carry them out, with at most one step, the last of them.

    `wake_s` is the time of the next deadline: decide again then, if no event comes before. None if no deadline is due.
    """

    effects: tuple[Effect, ...]
    wake_s: float | None

    @property
    def step(self) -> Run | Resume | None:
        last = self.effects[-1] if self.effects else None
        return last if isinstance(last, Run | Resume) else None
