"""One request from its arrival to its end: what it counts as, and what is told of it.

Owns the phases of a request and its figures. On the event loop alone. Knows nothing about how a request is answered.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from coe.telemetry.decisions import DecisionLog
from coe.telemetry.events import RequestChanged, RequestPhase
from coe.telemetry.hub import Publish
from coe.telemetry.metrics import Metrics
from coe.telemetry.spans import Spans, Times, current_parent
from coe.types import Decision, Delta, Finished, GenerateEvent, GenerateRequest, Routed

__all__ = ["RequestWatch", "RequestWatches"]

MAX_SHOWN = 5  # likeliest categories that a decision's event has


class RequestWatch:
    """A request under way: who is to answer it, and what it counts as if it ended now (`outcome`)."""

    def __init__(self, request: GenerateRequest, metrics: Metrics, decisions: DecisionLog, publish: Publish) -> None:
        self.outcome = "cancelled"
        self.decision: Decision | None = None
        self._request, self._decisions = request, decisions
        self._id, self._request_id, self._key = request.id, request.request_id, request.owner
        self._metrics, self._publish = metrics, publish
        self._phase: RequestPhase = "arrived"
        self._times, self._parent = Times(time.monotonic()), current_parent()
        self._first_token_s: float | None = None
        self._wait_s: float | None = None
        self._prompt_tokens: int | None = None
        self._cached_tokens: int | None = None
        self._completion_tokens = 0
        self._cached: str | None = None

    @property
    def expert(self) -> str | None:
        """Who is to answer; None before the decision."""
        return None if self.decision is None else self.decision.expert

    def arrived(self) -> None:
        self._publish(RequestChanged("arrived", self._id, self._request_id or None, self._key or None))

    def decided(self, decision: Decision) -> None:
        """The decision is made, or made anew because an expert was passed over."""
        if self.decision is None:
            self._metrics.decided(decision)
            self._times.decided_s = time.monotonic()
        self.decision, self._phase = decision, "decided"
        self._decisions.note(self._request, decision)
        likeliest = sorted(decision.probabilities.items(), key=lambda item: -item[1])[:MAX_SHOWN]
        self._publish(
            RequestChanged(
                *("decided", self._id, self._request_id or None, self._key or None),
                *(decision.expert, decision.category, decision.confidence, decision.why),
                passed_over=tuple(passed.expert for passed in decision.passed_over) or None,
                probabilities=dict(likeliest) or None,
                because=decision.because or None,
            )
        )

    def named(self, expert: str) -> None:
        """This one is asked by its name, for something else than an answer: there is no decision to note."""
        self.decision, self._phase = Decision(expert, None, None, "model", ""), "decided"

    def admitted(self) -> None:
        """The engine has taken the request in."""
        self._phase, self._times.admitted_s = "admitted", time.monotonic()
        self._publish(self.now())

    def took(self, event: GenerateEvent) -> None:
        """Count an event of the answer before the caller sees it."""
        match event:
            case Delta():
                if self._first_token_s is None:
                    self._first_token_came()
            case Finished():
                self._prompt_tokens, cached = event.usage.prompt_tokens, event.usage.cached_tokens
                self._cached_tokens = cached if self._cached_tokens is None else min(cached, self._cached_tokens)
                self._completion_tokens += event.usage.completion_tokens
                self._times.switch = self._times.switch or event.switch
                self._wait_s = event.switch.wait_s if self._wait_s is None else min(self._wait_s, event.switch.wait_s)
            case Routed():
                self._prompt_tokens = event.prompt_tokens
                self._cached = None if event.cached is None else event.cached.kind

    def ended(self, outcome: str) -> None:
        """Count the request for the last expert that it was given to, and tell of its end."""
        self.outcome, self._phase = outcome, "finished" if outcome == "ok" else "failed"
        if self.decision is not None:
            wait_s = self._wait_s if self._cached is None else None
            self._metrics.finished(self.decision.expert, outcome, time.monotonic() - self._times.arrived_s, wait_s)
        self._publish(self.now())

    def write_spans(self, spans: Spans) -> None:
        """Write the spans of the request, which has ended."""
        self._times.ended_s = time.monotonic()
        spans.write(self.now(), self._times, self._parent)

    def now(self) -> RequestChanged:
        """Return all that is known of it."""
        decision = self.decision
        return RequestChanged(
            phase=self._phase,
            id=self._id,
            request_id=self._request_id or None,
            key=self._key or None,
            expert=self.expert,
            category=None if decision is None else decision.category,
            confidence=None if decision is None else decision.confidence,
            why=None if decision is None else decision.why,
            outcome=self.outcome if self._phase in ("finished", "failed") else None,
            cached=self._cached,
            prompt_tokens=self._prompt_tokens,
            completion_tokens=self._completion_tokens or None,
            cached_tokens=self._cached_tokens,
            wait_s=self._wait_s,
            first_token_s=self._first_token_s,
            duration_s=time.monotonic() - self._times.arrived_s,
        )

    def _first_token_came(self) -> None:
        self._times.first_token_s = time.monotonic()
        self._first_token_s = self._times.first_token_s - self._times.arrived_s
        if self._cached is None:
            self._metrics.first_token(self._first_token_s)
        self._phase = "first_token"
        self._publish(self.now())


class RequestWatches:
    """The requests under way. `spans` writes those that have ended, where there is a tracer."""

    def __init__(self, metrics: Metrics, decisions: DecisionLog, publish: Publish, spans: Spans | None = None) -> None:
        self._metrics, self._decisions, self._publish, self._spans = metrics, decisions, publish, spans
        self._running: dict[int, RequestWatch] = {}

    def running(self) -> list[RequestChanged]:
        """Return what is known of each request under way, the oldest first."""
        return [watch.now() for watch in self._running.values()]

    @contextmanager
    def watched(self, request: GenerateRequest) -> Iterator[RequestWatch]:
        """Watch a request until the block ends; an exception is its outcome."""
        watch = RequestWatch(request, self._metrics, self._decisions, self._publish)
        self._running[id(watch)] = watch
        watch.arrived()
        try:
            yield watch
        except Exception as error:
            watch.outcome = type(error).__name__
            raise
        finally:
            del self._running[id(watch)]
            watch.ended(watch.outcome)
            if self._spans is not None:
                watch.write_spans(self._spans)
