"""Tells when the lease of an expert begins to wait for bytes, and when all of them are there.

Owned by the engine thread. Knows nothing about how bytes move or who listens.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from coe.telemetry.events import LoadEnded, LoadStarted
from coe.telemetry.hub import Publish
from coe.types import Tier
from coe.weights.lease import Lease

__all__ = ["LoadWatch"]


@dataclass(frozen=True, slots=True)
class _Load:
    lease: Lease
    started_s: float


class LoadWatch:
    """The leases that wait, with the time at which they began to."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._loads: list[_Load] = []

    def opened(self, lease: Lease, tier: Tier, missing_bytes: int) -> None:
        """A lease was taken, while so many bytes of its expert were not where it runs."""
        self._loads.append(_Load(lease, time.monotonic()))
        self._publish(LoadStarted(lease.expert, tier, missing_bytes))

    def arrived(self) -> None:
        """A unit has arrived: some leases may have all that they wait for."""
        for load in [load for load in self._loads if load.lease.is_ready]:
            self._end(load, is_done=True)

    def closed(self, lease: Lease) -> None:
        """A lease was given back."""
        for load in [load for load in self._loads if load.lease is lease]:
            self._end(load, is_done=lease.is_ready)

    def _end(self, load: _Load, *, is_done: bool) -> None:
        self._loads.remove(load)
        loaded_bytes, took_s = load.lease.cost.loaded_bytes, time.monotonic() - load.started_s
        self._publish(LoadEnded(load.lease.expert, "done" if is_done else "stopped", loaded_bytes, took_s))
