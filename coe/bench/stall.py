"""The command `coe bench stall`: how long a running server leaves its other clients without a word while large bodies
arrive.

One client reads a stream, another asks /health again and again, a third sends the bodies one after another; each on a
thread of its own, over HTTP. A gap is the time between two events of the stream, a wait that of one answer of /health.
What the bodies are answered with is shown and judged by nobody.
"""

from __future__ import annotations

import argparse
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx

from coe.bench.arguments import add_out_argument, at_least
from coe.bench.report import Output, record, table
from coe.errors import ConfigError

__all__ = ["BODIES", "add_arguments", "run"]

log = logging.getLogger("coe.bench.stall")

QUIET_S = 2.0  # of watching before the first body, for comparison
TIMEOUT_S = 600.0


def _chat(model: str, content: str, **more: object) -> bytes:
    return json.dumps(
        {"model": model, "max_tokens": 1, "messages": [{"role": "user", "content": content}], **more}
    ).encode()


def _messages(model: str, num_bytes: int) -> bytes:
    turn = '{"role":"user","content":"a"}'
    turns = ",".join([turn] * min(200_000, num_bytes // (len(turn) + 1) - 5))
    return f'{{"model":{json.dumps(model)},"max_tokens":1,"messages":[{turns}]}}'.encode()


def _nested(model: str, num_bytes: int) -> bytes:
    half = (num_bytes - 200) // 2
    return _chat(model, "hello", metadata=0).replace(b": 0", b": " + b"[" * half + b"]" * half)


def _tools(model: str, num_bytes: int) -> bytes:
    tool = {"type": "function", "function": {"name": "find", "description": "d" * (num_bytes - 300), "parameters": {}}}
    return _chat(model, "hello", tools=[tool])


# name -> the body for a model, of about so many bytes
BODIES: Mapping[str, Callable[[str, int], bytes]] = {
    "one message of words": lambda model, size: _chat(model, "word " * (size // 5 - 40)),
    "one message of blanks": lambda model, size: _chat(model, " " * (size - 200)),
    "one message of emoji": lambda model, size: _chat(model, "\N{GRINNING FACE}" * (size // 12 - 20)),
    "200,000 messages": _messages,
    "nested lists": _nested,
    "a long tool": _tools,
    "a long model name": lambda _, size: _chat("m" * (size - 200), "hello"),
    "no JSON": lambda _, size: b"{" + b"x" * (size - 1),
}


class _Span(NamedTuple):
    """From one word of the server to the next, in monotonic seconds."""

    start_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        return self.end_s - self.start_s


class Watcher:
    """What a client that watches the server has waited; `longest` asks about a time, when that is over."""

    def __init__(self) -> None:
        self._spans: list[_Span] = []
        self._has_new = threading.Condition()

    def saw(self, span: _Span) -> None:
        with self._has_new:
            self._spans.append(span)
            self._has_new.notify_all()

    def wait_until(self, at_s: float) -> None:
        """Return when something has been seen that ended after `at_s`; raises TimeoutError if nothing ever is."""
        with self._has_new:
            if not self._has_new.wait_for(lambda: bool(self._spans) and self._spans[-1].end_s > at_s, TIMEOUT_S):
                raise TimeoutError(f"the server has not said a word for {TIMEOUT_S:g} s")

    def longest(self, time_of: _Span) -> float:
        """Return the seconds of the longest span that reaches into a time."""
        self.wait_until(time_of.end_s)
        with self._has_new:
            reaching = [span for span in self._spans if span.end_s > time_of.start_s and span.start_s < time_of.end_s]
        return max(span.length_s for span in reaching)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the server to ask")
    parser.add_argument("--bytes", type=at_least(1000), default=(8 << 20) - 1000, help="of a body (default: 8 MB)")
    parser.add_argument("--model", help="the expert that streams and is sent the bodies (default: the first)")
    add_out_argument(parser, "stall.json")


def run(arguments: argparse.Namespace) -> int:
    """Send every body once; prints a table, then one JSON line. Raises ConfigError where no server answers."""
    output = Output(arguments.out)
    model = arguments.model or _first_model(arguments.url)
    with _watched(arguments.url, model) as (stream, health):
        started_s = time.monotonic()
        health.wait_until(started_s + QUIET_S)
        results = [_seen("nothing", 0, None, _Span(started_s, time.monotonic()), stream, health)]
        for name, body_of in BODIES.items():
            body = body_of(model, arguments.bytes)
            time_of, status = _sent(arguments.url, body)
            log.info("sent body=%s bytes=%d status=%d answered_s=%.3f", name, len(body), status, time_of.length_s)
            results.append(_seen(name, len(body), status, time_of, stream, health))
    print(_table(results))
    output.publish("stall", record("stall", {"model": model, "bodies": results}))
    return 0


def _first_model(url: str) -> str:
    try:
        names = [
            model["id"] for model in httpx.get(f"{url}/v1/models", timeout=TIMEOUT_S).raise_for_status().json()["data"]
        ]
    except httpx.HTTPError as error:
        raise ConfigError(
            f"no server answers at {url} ({error}); start one with `coe serve`, or name it with --url"
        ) from error
    return str(next(name for name in names if name != "coe"))


@contextmanager
def _watched(url: str, model: str) -> Iterator[tuple[Watcher, Watcher]]:
    """Watch a stream and /health until the block ends."""
    stream, health, is_over = Watcher(), Watcher(), threading.Event()
    threads = [
        threading.Thread(target=_watch_stream, args=(url, model, stream, is_over)),
        threading.Thread(target=_watch_health, args=(url, health, is_over)),
    ]
    for thread in threads:
        thread.start()
    try:
        yield stream, health
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def _watch_stream(url: str, model: str, watcher: Watcher, is_over: threading.Event) -> None:
    """Read one stream after another; the time to a stream's first event counts too."""
    body = {**json.loads(_chat(model, "Tell me a story.")), "max_tokens": 400, "stream": True, "ignore_eos": True}
    last_s = time.monotonic()
    with httpx.Client(base_url=url, timeout=TIMEOUT_S) as client:
        while not is_over.is_set():
            with client.stream("POST", "/v1/chat/completions", json=body) as answer:
                for line in answer.iter_lines():
                    if is_over.is_set():
                        return
                    if line.startswith("data:"):
                        now_s = time.monotonic()
                        watcher.saw(_Span(last_s, now_s))
                        last_s = now_s


def _watch_health(url: str, watcher: Watcher, is_over: threading.Event) -> None:
    with httpx.Client(base_url=url, timeout=TIMEOUT_S) as client:
        while not is_over.wait(0.01):
            started_s = time.monotonic()
            client.get("/health")
            watcher.saw(_Span(started_s, time.monotonic()))


def _sent(url: str, body: bytes) -> tuple[_Span, int]:
    """Send a body and return from when to when it was being answered, and with which status."""
    started_s = time.monotonic()
    status = httpx.post(f"{url}/v1/chat/completions", content=body, timeout=TIMEOUT_S).status_code
    return _Span(started_s, time.monotonic()), status


def _seen(
    name: str, size_bytes: int, status: int | None, time_of: _Span, stream: Watcher, health: Watcher
) -> dict[str, Any]:
    return {
        "body": name,
        "bytes": size_bytes,
        "status": status,
        "answered_s": round(time_of.length_s, 4),
        "longest_stream_gap_s": round(stream.longest(time_of), 4),
        "longest_health_wait_s": round(health.longest(time_of), 4),
    }


def _table(results: Sequence[dict[str, Any]]) -> str:
    heads = (
        "while this arrives",
        "MB",
        "status",
        "answered s",
        "longest gap of a stream s",
        "longest wait of /health s",
    )
    rows = [
        (
            each["body"],
            f"{each['bytes'] / 1e6:.1f}",
            str(each["status"] or "-"),
            *(f"{each[key]:.3f}" for key in ("answered_s", "longest_stream_gap_s", "longest_health_wait_s")),
        )
        for each in results
    ]
    return table(heads, rows)
