"""All that is seen of one composition, made together: counters, events, requests under way, decisions, feedback.

Knows nothing about the engine: what is read from it is read elsewhere.
"""

from __future__ import annotations

import time

from coe.config.schema import TelemetryConfig
from coe.telemetry.decisions import DecisionLog
from coe.telemetry.feedback import FeedbackFile
from coe.telemetry.hub import EventHub
from coe.telemetry.metrics import Metrics
from coe.telemetry.request_watch import RequestWatches
from coe.telemetry.spans import spans_of_process

__all__ = ["Telemetry"]


class Telemetry:
    """One for each runtime. `feedback` is None where none is kept."""

    def __init__(self, settings: TelemetryConfig = TelemetryConfig()) -> None:  # noqa: B008 (frozen)
        self.metrics = Metrics()
        self.hub = EventHub()
        self.decisions = DecisionLog(settings.num_decisions, keeps_prompts=settings.keep_prompts)
        self.feedback = None if settings.feedback_file is None else FeedbackFile(settings.feedback_file)
        self.requests = RequestWatches(
            self.metrics, self.decisions, self.hub.publish, spans_of_process(time.time() - time.monotonic())
        )
