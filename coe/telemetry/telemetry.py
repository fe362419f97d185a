"""All that is seen of one composition, made together: counters, the event hub, the requests under way.

Knows nothing about the engine: what is read from it is read elsewhere.
"""

from __future__ import annotations

from coe.telemetry.hub import EventHub
from coe.telemetry.metrics import Metrics
from coe.telemetry.request_watch import RequestWatches

__all__ = ["Telemetry"]


class Telemetry:
    """One for each runtime."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.hub = EventHub()
        self.requests = RequestWatches(self.metrics, self.hub.publish)
