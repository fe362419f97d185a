"""Spans: one for the request and one for each phase that it came to, in the caller's trace; none without a tracer."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from compositions import write_config
from server_live import live_server, post
from waits import until

from coe.errors import ConfigError, DeadlineError
from coe.telemetry.decisions import DecisionLog
from coe.telemetry.metrics import Metrics
from coe.telemetry.request_watch import RequestWatches
from coe.telemetry.spans import Spans, spans_of_process, start_tracing
from coe.telemetry.telemetry import Telemetry
from coe.types import Decision, Delta, Finished, FinishReason, GenerateRequest, Switch, SwitchKind, Usage

PHASES = ["route", "prepare", "queue", "load", "prefill", "decode"]
ROOT = Path(__file__).parents[3]
needs_sdk = pytest.mark.skipif(
    importlib.util.find_spec("opentelemetry.sdk") is None,
    reason="no OpenTelemetry SDK (the extra otel)",
)


class Traced:
    """Watches whose spans stay in memory."""

    def __init__(self) -> None:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        self.exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.spans = Spans(provider.get_tracer("test"), time.time() - time.monotonic())
        self.watches = RequestWatches(Metrics(), DecisionLog(9, keeps_prompts=False), lambda _: None, self.spans)

    def finished(self) -> dict[str, Any]:
        return {span.name: span for span in self.exporter.get_finished_spans()}


def check_order(spans: Mapping[str, Any], names: Sequence[str], root: Any) -> None:
    for name in names:
        span = spans[name]
        assert span.parent.span_id == root.context.span_id
        assert root.start_time <= span.start_time <= span.end_time <= root.end_time
    chain = [name for name in names if name != "load"]
    for before, after in pairwise(chain):
        assert spans[before].end_time == spans[after].start_time


@needs_sdk
def test_every_phase_is_a_span_that_begins_where_the_last_one_ended() -> None:
    traced = Traced()
    with traced.watches.watched(GenerateRequest("r1")) as watch:
        watch.decided(Decision("sql", "sql", 0.9, "category", "a secret"))
        watch.admitted()
        watch.took(Delta("x", (1,)))
        switch = Switch(SwitchKind.DISK_MISS, 100, 0.0, 0.0, 0.0)
        watch.took(Finished(FinishReason.STOP, Usage(9, 4, 3), switch))
        watch.outcome = "ok"
    spans = traced.finished()
    root = spans.pop("chat sql")
    assert list(spans) == PHASES
    check_order(spans, PHASES, root)
    assert root.attributes["gen_ai.usage.input_tokens"] == 9
    assert root.attributes["gen_ai.usage.output_tokens"] == 4
    assert root.attributes["coe.why"] == "category"
    assert "secret" not in str(root.attributes)


def fail_late(watches: RequestWatches) -> None:
    with watches.watched(GenerateRequest("r1")) as watch:
        watch.decided(Decision("sql", None, None, "model", ""))
        watch.admitted()
        raise DeadlineError("late")


@needs_sdk
def test_a_request_that_fails_has_the_phases_it_came_to_and_an_error() -> None:
    traced = Traced()
    with pytest.raises(DeadlineError):
        fail_late(traced.watches)
    spans = traced.finished()
    root = spans.pop("chat sql")
    assert list(spans) == ["route", "prepare", "queue"]
    assert root.attributes["error.type"] == "DeadlineError"
    assert not root.status.is_ok


@needs_sdk
def test_a_callers_trace_goes_on_over_http(tmp_path: Path, llama_folder: Path) -> None:
    traced = Traced()
    with live_server(write_config(tmp_path, {"general": llama_folder})) as live:
        live.runtime.telemetry.requests._spans = traced.spans
        body = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 3, "stream": True, "ignore_eos": True}
        trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
        post(live, "/v1/chat/completions", body, traceparent=f"00-{trace}-{parent}-01")
        until(lambda: "chat general" in traced.finished(), "the request has its span")
        spans = traced.finished()
        root = spans.pop("chat general")
        assert f"{root.context.trace_id:032x}" == trace
        assert f"{root.parent.span_id:016x}" == parent
        check_order(spans, [name for name in PHASES if name in spans], root)
        assert set(PHASES) - set(spans) <= {"load"}
        traced.exporter.clear()
        post(live, "/v1/chat/completions", body)
        until(lambda: "chat general" in traced.finished(), "the request has its span")
        assert traced.finished()["chat general"].parent is None


def test_without_a_provider_there_are_no_spans() -> None:
    assert spans_of_process(0.0) is None
    assert Telemetry().requests._spans is None
    assert not start_tracing({})
    assert not start_tracing({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"})


def test_a_destination_without_the_packages_is_refused_with_their_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigError, match=r"coe-serve\[otel\]"):
        start_tracing({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"})


PROGRAM = """
import os
from opentelemetry import trace
from coe.telemetry.spans import start_tracing
from coe.telemetry.telemetry import Telemetry
from coe.types import Decision, GenerateRequest
assert start_tracing(os.environ)
with Telemetry().requests.watched(GenerateRequest("r1")) as watch:
    watch.decided(Decision("sql", None, None, "model", ""))
trace.get_tracer_provider().shutdown()
"""


@needs_sdk
def test_spans_reach_a_collector_over_otlp() -> None:
    taken: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    collector = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=collector.serve_forever)
    thread.start()
    try:
        where = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}"}
        plain = {"OTEL_EXPORTER_OTLP_COMPRESSION": "none", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, **where, **plain},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    finally:
        collector.shutdown()
        thread.join()
        collector.server_close()
    ((path, body),) = taken
    assert path == "/v1/traces"
    assert b"chat sql" in body
    assert b"prepare" in body
