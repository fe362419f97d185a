"""A request as OpenTelemetry spans: the request, and in it route, prepare, queue, load, prefill and decode.

They are written when the request has ended, from times that are taken anyway; without OpenTelemetry's SDK, or without a
destination, there are none and nothing is paid. A caller's W3C `traceparent` is the parent. A load is drawn from the
admission on, as long as bytes were moving. Attributes are those of OpenTelemetry's conventions for generative AI.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coe.errors import ConfigError
from coe.telemetry.events import RequestChanged
from coe.types import Switch

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

__all__ = ["Spans", "Times", "current_parent", "set_parent", "spans_of_process", "start_tracing"]

SDK = "opentelemetry.sdk.trace"
DESTINATIONS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PARENT: ContextVar[Mapping[str, str]] = ContextVar("parent")
NO_PARENT: Mapping[str, str] = {}


@dataclass(slots=True)
class Times:
    """When a request came to its phases, in monotonic seconds; None where it did not."""

    arrived_s: float
    decided_s: float | None = None
    admitted_s: float | None = None
    first_token_s: float | None = None
    ended_s: float | None = None
    switch: Switch | None = None  # what the first choice to end has waited for


def set_parent(headers: Mapping[str, str]) -> None:
    """Make the trace that the headers name the parent of what this task and those that it starts do."""
    if "traceparent" in headers:
        _PARENT.set({name: headers[name] for name in ("traceparent", "tracestate") if name in headers})


def current_parent() -> Mapping[str, str]:
    return _PARENT.get(NO_PARENT)


class Spans:
    """Writes the spans of requests that have ended; `offset_s` turns monotonic seconds to unix time."""

    def __init__(self, tracer: Tracer, offset_s: float) -> None:
        self._tracer, self._offset_s = tracer, offset_s

    def write(self, request: RequestChanged, times: Times, parent: Mapping[str, str]) -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        context = TraceContextTextMapPropagator().extract(parent)
        span = self._tracer.start_span(
            f"chat {request.expert or ''}".strip(),
            context,
            trace.SpanKind.SERVER,
            _attributes(request),
            start_time=self._unix_ns(times.arrived_s),
        )
        if request.outcome not in ("ok", "cancelled"):
            span.set_status(trace.StatusCode.ERROR, request.outcome)
        inside = trace.set_span_in_context(span, context)
        for name, start_s, end_s in _phases(times):
            child = self._tracer.start_span(name, inside, start_time=self._unix_ns(start_s))
            child.end(self._unix_ns(end_s))
        assert times.ended_s is not None
        span.end(self._unix_ns(times.ended_s))

    def _unix_ns(self, monotonic_s: float) -> int:
        return int((monotonic_s + self._offset_s) * 1e9)


def _phases(times: Times) -> list[tuple[str, float, float]]:
    """Return the phases that began, each with its start and its end; the one that a request ended in ends with it."""
    end_s = times.ended_s
    assert end_s is not None
    found = [("route", times.arrived_s, times.decided_s or end_s)]
    if times.decided_s is not None:
        found.append(("prepare", times.decided_s, times.admitted_s or end_s))
    if times.admitted_s is None:
        return found
    begun_s = _begun_s(times)
    found.append(("queue", times.admitted_s, begun_s or times.first_token_s or end_s))
    if times.switch is not None and times.switch.loaded_bytes:
        found.append(("load", times.admitted_s, min(end_s, times.admitted_s + times.switch.load_s)))
    if times.first_token_s is not None:
        if begun_s is not None:
            found.append(("prefill", begun_s, times.first_token_s))
        found.append(("decode", times.first_token_s, end_s))
    return found


def _begun_s(times: Times) -> float | None:
    """Return when the first step began, which is known of a request that has come to its end."""
    if times.switch is None or times.admitted_s is None:
        return None
    latest_s = times.ended_s if times.first_token_s is None else times.first_token_s
    return min(max(times.arrived_s + times.switch.wait_s, times.admitted_s), latest_s or times.admitted_s)


def _attributes(request: RequestChanged) -> dict[str, Any]:
    named = {
        "gen_ai.operation.name": "chat",
        "gen_ai.response.model": request.expert,
        "gen_ai.response.id": request.id,
        "gen_ai.usage.input_tokens": request.prompt_tokens,
        "gen_ai.usage.output_tokens": request.completion_tokens,
        "error.type": None if request.outcome == "ok" else request.outcome,
        "coe.request_id": request.request_id,
        "coe.category": request.category,
        "coe.confidence": request.confidence,
        "coe.why": request.why,
        "coe.outcome": request.outcome,
        "coe.cached_answer": request.cached,
        "coe.cached_tokens": request.cached_tokens,
    }
    return {name: value for name, value in named.items() if value is not None}


def spans_of_process(offset_s: float) -> Spans | None:
    """Return what writes spans where the process has a provider of OpenTelemetry's SDK; None where nobody set one."""
    if SDK not in sys.modules:
        return None
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        return None
    return Spans(trace.get_tracer("coe"), offset_s)


def start_tracing(environment: Mapping[str, str]) -> bool:
    """Send spans to where OpenTelemetry's variables say; returns whether they say it.

    Raises ConfigError where they do and the packages are missing. A provider that is set already stays.
    """
    if not any(environment.get(name) for name in DESTINATIONS) or environment.get("OTEL_SDK_DISABLED") == "true":
        return False
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        where = next(name for name in DESTINATIONS if environment.get(name))
        raise ConfigError(
            f"{where} is set and OpenTelemetry's packages are missing ({error}); install coe-serve[otel], or unset it"
        ) from error
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        name = environment.get("OTEL_SERVICE_NAME", "coe")
        provider = TracerProvider(resource=Resource.create({"service.name": name}))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(provider)
    return True
