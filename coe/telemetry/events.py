"""What happens in a running composition, as values: one frozen class for each kind of event.

None of them has text of a prompt or an answer. Times are seconds, sizes bytes. Knows nothing about who publishes them,
who listens or how they are written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from coe.types import BreakerState, SwitchKind, Tier

__all__ = [
    "KINDS",
    "BreakerChanged",
    "Evicted",
    "EvictedWhy",
    "Happening",
    "LoadEnded",
    "LoadStarted",
    "Pinned",
    "Preempted",
    "QueueChanged",
    "Queued",
    "RequestChanged",
    "RequestPhase",
    "ResidencyChanged",
    "Resident",
    "Second",
    "StateChanged",
    "Switched",
]

RequestPhase = Literal["arrived", "decided", "admitted", "first_token", "finished", "failed"]
EvictedWhy = Literal["room", "unload", "failed"]


@dataclass(frozen=True, slots=True)
class RequestChanged:
    """A request has come to its next phase. What is not known yet is None.

    `id` is the request's own, `request_id` the client's name for it. A request that is passed on to another expert is
    decided again. `outcome` is "ok", "cancelled" or the class of the error. Tokens and times come with the end;
    `duration_s` is the time since the arrival, `prompt_tokens` counts the prompt once, `completion_tokens` all choices.
    """

    kind: ClassVar[str] = "request"
    phase: RequestPhase
    id: str
    request_id: str | None = None
    key: str | None = None
    expert: str | None = None
    category: str | None = None
    confidence: float | None = None
    why: str | None = None
    passed_over: tuple[str, ...] | None = None
    probabilities: Mapping[str, float] | None = None
    because: str | None = None
    outcome: str | None = None
    cached: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    wait_s: float | None = None
    first_token_s: float | None = None
    duration_s: float | None = None


@dataclass(frozen=True, slots=True)
class Switched:
    """A step runs another expert than the step before."""

    kind: ClassVar[str] = "switch"
    expert: str
    before: str | None
    how: SwitchKind
    loaded_bytes: int
    load_s: float


@dataclass(frozen=True, slots=True)
class LoadStarted:
    """A lease of an expert waits for bytes: `tier` is where it was as a whole, `missing_bytes` what has to move."""

    kind: ClassVar[str] = "load"
    expert: str
    tier: Tier
    missing_bytes: int
    phase: Literal["started"] = "started"


@dataclass(frozen=True, slots=True)
class LoadEnded:
    """All that the lease waited for is there ("done"), or the lease was given back or has failed before ("stopped")."""

    kind: ClassVar[str] = "load"
    expert: str
    phase: Literal["done", "stopped"]
    loaded_bytes: int
    took_s: float


@dataclass(frozen=True, slots=True)
class Resident:
    """Bytes of an expert in one tier: those that are ready, and those of units on their way there."""

    ready_bytes: int
    moving_bytes: int


@dataclass(frozen=True, slots=True)
class ResidencyChanged:
    """Bytes of an expert have come to a tier, are on their way or have left."""

    kind: ClassVar[str] = "residency"
    expert: str
    host: Resident
    device: Resident


@dataclass(frozen=True, slots=True)
class Evicted:
    """Units have left a tier: for others ("room"), by command or keep-alive ("unload"), or never came ("failed").

    A unit that several experts share counts for the first of them.
    """

    kind: ClassVar[str] = "eviction"
    expert: str
    tier: Tier
    why: EvictedWhy
    bytes: int
    units: int


@dataclass(frozen=True, slots=True)
class Queued:
    """Requests of an expert that wait for their first step, and those that have begun."""

    queued: int
    running: int


@dataclass(frozen=True, slots=True)
class QueueChanged:
    """The requests in the engine by expert (those without any are left out), and the KV that they have reserved."""

    kind: ClassVar[str] = "queue"
    experts: Mapping[str, Queued]
    kv_used_bytes: int


@dataclass(frozen=True, slots=True)
class Second:
    """Tokens and requests of one whole second of unix time. Seconds in which nothing happened are left out."""

    kind: ClassVar[str] = "throughput"
    second: int
    prompt_tokens: int = 0
    completion_tokens: int = 0
    requests: int = 0


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The runtime is starting, loading, ready, draining, failed or closed now."""

    kind: ClassVar[str] = "state"
    state: str


@dataclass(frozen=True, slots=True)
class Preempted:
    """A sequence has given up its KV for an older one; it is computed again later."""

    kind: ClassVar[str] = "preemption"
    id: str
    expert: str
    tokens: int


@dataclass(frozen=True, slots=True)
class BreakerChanged:
    """An expert has failed, or runs again; `error` is what its last failure was."""

    kind: ClassVar[str] = "breaker"
    expert: str
    state: BreakerState
    num_faults: int
    open_s: float
    error: str | None


@dataclass(frozen=True, slots=True)
class Pinned:
    """An operator has pinned an expert, or let go of it."""

    kind: ClassVar[str] = "pin"
    expert: str
    is_pinned: bool


Happening: TypeAlias = (
    RequestChanged
    | Switched
    | LoadStarted
    | LoadEnded
    | ResidencyChanged
    | Evicted
    | QueueChanged
    | Second
    | StateChanged
    | Preempted
    | BreakerChanged
    | Pinned
)
KINDS = (
    *("request", "switch", "load", "residency", "eviction", "queue", "throughput"),
    *("preemption", "breaker", "pin", "state"),
)
