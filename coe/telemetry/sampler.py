"""What changes all the time, looked at ten times a second while somebody listens: residency, evictions, queue, rate.

Nobody pays for it when nobody listens, and the engine thread never does: it reads books that any thread may read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from coe.engine.status import EngineStatus
from coe.telemetry.events import (
    Evicted,
    EvictedWhy,
    Happening,
    QueueChanged,
    Queued,
    ResidencyChanged,
    Second,
    StateChanged,
)
from coe.telemetry.metrics import Metrics
from coe.types import Tier
from coe.weights.tier_log import Moved

__all__ = ["Sampler", "queue_now"]

NOTHING = Moved()


class Sampler:
    """Compares what is with what was; the first comparison is with the moment of its construction."""

    def __init__(self, status: EngineStatus, metrics: Metrics, state: Callable[[], str], now_s: float) -> None:
        self._status, self._metrics, self._read_state = status, metrics, state
        self._state = state()
        self._evictions = self._evictions_now()
        self._queue = queue_now(status)
        self._until_s = int(now_s)
        status.weights.take_changed()  # whoever listens has seen it in the snapshot

    def sample(self, now_s: float) -> Iterator[Happening]:
        """Yield what has changed since the last call; `now_s` is unix time."""
        if (state := self._read_state()) != self._state:
            self._state = state
            yield StateChanged(state)
        for expert in sorted(self._status.weights.take_changed()):
            resident = self._status.weights.resident(expert)
            yield ResidencyChanged(expert, resident[Tier.HOST], resident[Tier.DEVICE])
        yield from self._evicted()
        if (queue := queue_now(self._status)) != self._queue:
            self._queue = queue
            yield queue
        yield from self._seconds(int(now_s))

    def _evicted(self) -> Iterator[Evicted]:
        now = self._evictions_now()
        for tier, counts in now.items():
            for (expert, why), moved in counts.items():
                before = self._evictions[tier].get((expert, why), NOTHING)
                if moved != before:
                    yield Evicted(expert, tier, why, moved.bytes - before.bytes, moved.units - before.units)
        self._evictions = now

    def _evictions_now(self) -> dict[Tier, Mapping[tuple[str, EvictedWhy], Moved]]:
        return {tier: log.evictions() for tier, log in self._status.weights.logs().items()}

    def _seconds(self, now_s: int) -> tuple[Second, ...]:
        """Return the whole seconds that are over."""
        since_s, self._until_s = self._until_s, max(self._until_s, now_s)
        return self._metrics.seconds(since_s, self._until_s)


def queue_now(status: EngineStatus) -> QueueChanged:
    """Return the requests in the engine and the KV that they take."""
    counts = {name: Queued(*each) for name, each in status.requests().items() if any(each)}
    return QueueChanged(counts, status.kv_used_bytes)
