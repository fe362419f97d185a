"""The nouns that cross module boundaries: what a client asks, what a router decides, what comes back.

Knows nothing about HTTP, torch or files. Everything here is a frozen value; the living things (runtime, engine,
cache) own state and hand these out. Times are seconds on the monotonic clock, sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

__all__ = [
    "Decision",
    "Delta",
    "ExpertStatus",
    "FinishReason",
    "Finished",
    "GenerateEvent",
    "GenerateRequest",
    "Message",
    "Part",
    "RouteQuery",
    "Routed",
    "Router",
    "Sampling",
    "StoreStatus",
    "Switch",
    "SwitchKind",
    "Tier",
    "Usage",
]


class Tier(StrEnum):
    """Where bytes live. On a CPU the device tier is the host bytes themselves."""

    DISK = "disk"
    HOST = "host"
    DEVICE = "device"


class FinishReason(StrEnum):
    """Why a generation ended, in OpenAI's words."""

    STOP = "stop"
    LENGTH = "length"


class SwitchKind(StrEnum):
    """What it took to run this expert: nothing moved, bytes came from RAM, or bytes came from disk."""

    DEVICE_HIT = "device_hit"
    HOST_HIT = "host_hit"
    DISK_MISS = "disk_miss"


@dataclass(frozen=True, slots=True)
class Message:
    """One chat turn."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen and when to stop.

    None means: the expert's own generation default, else the default named here. `temperature` 0 is greedy.
    Defaults: temperature 1.0 as OpenAI's API has it, top_p 1.0, top_k 0 (off), max_tokens from the configuration.
    """

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RouteQuery:
    """What a router may look at. `expert` is a name or alias that the client asked for, None to be routed."""

    messages: tuple[Message, ...]
    expert: str | None = None


class Decision(Protocol):
    """A router's answer. `text` is the last user turn as the expert should see it (an `@expert` mention stripped)."""

    @property
    def expert(self) -> str: ...
    @property
    def category(self) -> str | None: ...
    @property
    def confidence(self) -> float | None: ...
    @property
    def why(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def probabilities(self) -> Mapping[str, float]: ...


class Router(Protocol):
    """Prompts to experts. Pure from the caller's view: same queries, same decisions, alone or in a batch."""

    def route(self, queries: Sequence[RouteQuery]) -> Sequence[Decision]:
        """Return one decision per query; raises ValueError for an expert nobody knows."""
        ...


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """A validated request: a conversation (`messages`), or plain text to continue (`prompt`), never both."""

    id: str
    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    expert: str | None = None
    sampling: Sampling = field(default_factory=Sampling)


@dataclass(frozen=True, slots=True)
class Switch:
    """What running the expert cost this request.

    `kind` and `loaded_bytes` cover what had to be moved since the request's expert was asked for; `wait_s` is the time
    from submission until its first step began, `load_s` the part of it in which bytes were moving, `first_token_s` the
    time from submission to the first token.
    """

    kind: SwitchKind
    loaded_bytes: int
    load_s: float
    wait_s: float
    first_token_s: float


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts, exact: what was prefilled and what was sampled (the end-of-sequence token included)."""

    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Routed:
    """The first event of a generation: who will answer and why. `tier` is where the expert was at that moment."""

    decision: Decision
    tier: Tier
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Delta:
    """Newly decoded text; may be empty while a UTF-8 sequence or a possible stop string is incomplete."""

    text: str
    token_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of a generation."""

    reason: FinishReason
    usage: Usage
    switch: Switch


GenerateEvent = Routed | Delta | Finished


@dataclass(frozen=True, slots=True)
class Part:
    """One unit of an expert: where it is (on its way counts for the tier it comes from), and if others use it too."""

    unit: str
    tier: Tier
    size_bytes: int
    is_shared: bool


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """Where imported weights are kept, and the bytes of all files there."""

    folder: str
    disk_bytes: int


@dataclass(frozen=True, slots=True)
class ExpertStatus:
    """An operator's view of one expert. Bytes are of its own units; `shared_bytes` is the part others use too."""

    name: str
    aliases: tuple[str, ...]
    source: str
    path: str  # "llama" (fast path) or "modules" (transformers' own)
    dtype: str
    num_parameters: int
    size_bytes: int
    shared_bytes: int
    host_bytes: int
    device_bytes: int
    tier: Tier
    is_pinned: bool
    is_streaming: bool  # larger than the device: its layers pass through it in every step
    num_leases: int
    num_requests: int  # waiting or running now
    num_loads: int
    loaded_bytes: int
    load_s: float
    last_used_s: float | None  # seconds since last use, None if never
    parts: tuple[Part, ...]
    error: str | None
