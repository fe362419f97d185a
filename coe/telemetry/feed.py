"""What a watcher sees: an overview of the moment, then every event; sampling runs while there is a watcher.

Owns when the sampler runs: from the first watcher on, until some seconds after the last, so that one who comes back has
missed nothing. On one event loop. Knows nothing about HTTP.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial

from coe.engine.status import EngineStatus
from coe.statuses import ExpertStatus
from coe.telemetry.hub import EventHub, Listener
from coe.telemetry.overview import Overview, overview_of
from coe.telemetry.sampler import Sampler
from coe.telemetry.telemetry import Telemetry

__all__ = ["Feed", "feed_of"]

SAMPLE_S = 0.1
LINGER_S = 15.0


class Feed:
    """`make_sampler` is given unix time, `overview` the number of the last event."""

    def __init__(
        self, hub: EventHub, make_sampler: Callable[[float], Sampler], overview: Callable[[int], Overview]
    ) -> None:
        self.hub = hub
        self._make_sampler, self._overview = make_sampler, overview
        self._sampling: asyncio.Task[None] | None = None

    @contextmanager
    def watched(self, kinds: Collection[str] | None = None, after: int | None = None) -> Iterator[Listener]:
        """Give a listener, as `EventHub.listen` does, until the block ends."""
        listener = self.hub.listen(kinds, after)
        if self._sampling is None or self._sampling.done():
            self._sampling = asyncio.create_task(self._sample(self._make_sampler(time.time())))
        try:
            yield listener
        finally:
            listener.close()

    def overview(self) -> Overview:
        """Return all that is now; events up to its `seq` are in it."""
        return self._overview(self.hub.seq)

    def close(self) -> None:
        """Sample no more, and tell watchers that nothing follows."""
        if self._sampling is not None:
            self._sampling.cancel()
        self.hub.close()

    async def _sample(self, sampler: Sampler) -> None:
        heard_s = time.monotonic()
        while time.monotonic() - heard_s < LINGER_S:
            await asyncio.sleep(SAMPLE_S)
            for happening in sampler.sample(time.time()):
                self.hub.publish(happening)
            if self.hub.is_heard:
                heard_s = time.monotonic()


def feed_of(
    telemetry: Telemetry, status: EngineStatus, experts: Callable[[], list[ExpertStatus]], state: Callable[[], str]
) -> Feed:
    """Return the feed of a runtime in the state that `state` says, over all experts of its catalogue."""

    def overview(seq: int) -> Overview:
        return overview_of(seq, state(), experts(), status, telemetry.requests.running(), telemetry.metrics)

    return Feed(telemetry.hub, partial(Sampler, status, telemetry.metrics, state), overview)
