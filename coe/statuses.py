"""What operators see: every expert with its units and where they are, the store, the answer cache.

Frozen values that the runtime hands out. Times are seconds, sizes are bytes. Knows nothing about HTTP, torch or files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from coe.types import BreakerState, Tier

__all__ = ["AnswersStatus", "ExpertStatus", "StoreStatus", "UnitStatus", "WaitingStatus"]


@dataclass(frozen=True, slots=True)
class UnitStatus:
    """One unit of an expert. One on its way counts for the tier it comes from; a shared one serves several experts."""

    name: str
    tier: Tier
    size_bytes: int
    is_shared: bool


@dataclass(frozen=True, slots=True)
class WaitingStatus:
    """What a request waits for: `position` among the `queued` of its expert, from 1 (0: it has begun), and the bytes of
    the expert that are where it runs."""

    expert: str
    position: int
    queued: int
    loaded_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """The folder of imported weights, and the bytes of all files in it."""

    folder: str
    disk_bytes: int


@dataclass(frozen=True, slots=True)
class ExpertStatus:
    """One expert as operators see it. Bytes are its units'; `shared_bytes` are in units that other experts use, too."""

    name: str
    aliases: tuple[str, ...]
    source: str
    backend: str  # what runs it, for example "llama/cpu-compiled/bf16" or "transformers/torch/f32"
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
    units: tuple[UnitStatus, ...]
    error: str | None
    breaker: BreakerState  # open: it failed too often in a row, and no request is let through for a while
    notes: tuple[str, ...] = ()  # what people should know of its tokenizer and template
    context: int = 0  # tokens of prompt and answer together; of a text, where it answers no prompts
    description: str = ""  # the sentence of its category, where it has one
    tool_calls: str = ""  # the form in which it calls tools
    kind: Literal["chat", "embedding", "rerank"] = "chat"


@dataclass(frozen=True, slots=True)
class AnswersStatus:
    """The answer cache: what it holds now, and counts since the start. Evicted answers had to make room for others."""

    is_enabled: bool
    num_answers: int
    used_bytes: int
    budget_bytes: int
    num_exact_hits: int
    num_semantic_hits: int
    num_misses: int  # of requests that it could have answered
    num_evicted: int
    num_expired: int
