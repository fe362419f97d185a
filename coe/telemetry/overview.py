"""All of a composition at one moment, for who begins to watch it: experts, tiers, queue, requests, rate.

Frozen values, read without asking the engine thread. Knows nothing about HTTP or who watches.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from coe.engine.status import EngineStatus
from coe.statuses import ExpertStatus
from coe.telemetry.events import QueueChanged, RequestChanged, Resident, Second
from coe.telemetry.metrics import Metrics
from coe.telemetry.sampler import queue_now
from coe.telemetry.throughput import KEPT_S
from coe.types import BreakerState, Tier

__all__ = ["ExpertOverview", "Overview", "SharedBytes", "TierOverview", "overview_of"]


@dataclass(frozen=True, slots=True)
class SharedBytes:
    """Bytes that an expert shares with exactly these others."""

    experts: tuple[str, ...]
    bytes: int


@dataclass(frozen=True, slots=True)
class ExpertOverview:
    """One expert. Bytes on the device are those that are ready; `error` is why it cannot be had."""

    name: str
    aliases: tuple[str, ...]
    backend: str
    num_parameters: int
    size_bytes: int
    shared: tuple[SharedBytes, ...]
    tier: Tier
    host: Resident
    device: Resident
    is_pinned: bool
    is_streaming: bool
    is_leased: bool
    breaker: BreakerState
    error: str | None


@dataclass(frozen=True, slots=True)
class TierOverview:
    """A tier's bytes and budget. With one memory, host and device are the same bytes under one budget."""

    tier: Tier
    used_bytes: int
    budget_bytes: int


@dataclass(frozen=True, slots=True)
class Overview:
    """`seq` is the number of the last event that it knows of, `time` unix time, `throughput` of the last minutes."""

    seq: int
    time: float
    state: str
    has_one_memory: bool
    tiers: tuple[TierOverview, ...]
    kv_budget_bytes: int
    experts: tuple[ExpertOverview, ...]
    queue: QueueChanged
    requests: tuple[RequestChanged, ...]
    throughput: tuple[Second, ...]


def overview_of(
    seq: int,
    state: str,
    experts: list[ExpertStatus],
    status: EngineStatus,
    requests: list[RequestChanged],
    metrics: Metrics,
) -> Overview:
    """Return what is now; `experts` are all of the catalogue."""
    used, budgets, now_s = status.weights.used_bytes(), status.weights.budget_bytes(), time.time()
    return Overview(
        seq=seq,
        time=now_s,
        state=state,
        has_one_memory=status.weights.has_one_memory,
        tiers=tuple(TierOverview(tier, used[tier], budgets[tier]) for tier in (Tier.DEVICE, Tier.HOST)),
        kv_budget_bytes=status.kv_budget_bytes,
        experts=tuple(_expert(expert, status) for expert in experts),
        queue=queue_now(status),
        requests=tuple(requests),
        throughput=metrics.seconds(int(now_s) - KEPT_S, int(now_s)),
    )


def _expert(expert: ExpertStatus, status: EngineStatus) -> ExpertOverview:
    nothing = Resident(0, 0)
    is_served = bool(expert.size_bytes)
    shared = status.weights.sharers(expert.name) if is_served else {}
    resident: Mapping[Tier, Resident] = status.weights.resident(expert.name) if is_served else {}
    return ExpertOverview(
        name=expert.name,
        aliases=expert.aliases,
        backend=expert.backend,
        num_parameters=expert.num_parameters,
        size_bytes=expert.size_bytes,
        shared=tuple(SharedBytes(others, size_bytes) for others, size_bytes in shared.items()),
        tier=expert.tier,
        host=resident.get(Tier.HOST, nothing),
        device=resident.get(Tier.DEVICE, nothing),
        is_pinned=expert.is_pinned,
        is_streaming=expert.is_streaming,
        is_leased=expert.num_leases > 0,
        breaker=expert.breaker,
        error=expert.error,
    )
