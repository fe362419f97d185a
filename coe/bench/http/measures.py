"""What is measured of a running server, and how figures come out of it.

`Served` is a server in this process; its clients are another process. Knows nothing about how figures are shown.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

from coe.bench.harness import in_turns
from coe.bench.http.load import Load, Loaded, ask
from coe.bench.http.tiny_expert import NAME
from coe.bench.report import median, p95
from coe.runtime import Runtime
from coe.types import GenerateRequest, Message, Sampling

__all__ = ["Overhead", "Paced", "Served", "StepRates", "clients", "overhead", "paced", "step_rates"]

PROMPT = "What is the capital of France?"
NUM_WARM = 20


@dataclass(frozen=True, slots=True)
class Served:
    """A server in this process: its port, and the loop that its runtime lives on."""

    runtime: Runtime
    port: int
    loop: asyncio.AbstractEventLoop


@dataclass(frozen=True, slots=True)
class Overhead:
    """What the server takes at so many streams, with an engine that answers at once.

    Times of a request are what a client waits; `core_ms` is the server's whole time by the requests that it answered.
    """

    num_streams: int
    whole_p50_ms: float
    whole_p95_ms: float
    whole_core_ms: float
    streamed_core_ms: float  # of a stream of one token
    streamed_token_ms: float  # of every further one


@dataclass(frozen=True, slots=True)
class Paced:
    """Streams of an engine that gives each so many tokens a second, one at a time.

    `times_late` is how long they took by how long they had to; `token_core_ms` the processor time of a token in this
    process, without that of the requests.
    """

    num_streams: int
    tokens_per_s_each: float
    times_late: float
    token_core_ms: float


@dataclass(frozen=True, slots=True)
class StepRates:
    """Tokens a second of a real engine, in process and over HTTP; medians over rounds, of which `ratios` has each."""

    num_streams: int
    in_process_tokens_per_s: float
    http_tokens_per_s: float
    ratio: float
    ratios: tuple[float, ...]


Clients = Callable[[Load], Loaded]


@contextmanager
def clients(*, on_one_core: bool) -> Iterator[Clients]:
    """Yield a process that asks. With `on_one_core` the server has one core and the clients the others."""
    cores = sorted(os.sched_getaffinity(0))
    is_apart = on_one_core and len(cores) > 1
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        try:
            if is_apart:
                pool.submit(os.sched_setaffinity, 0, cores[1:]).result()
                _pin(cores[:1])
            yield lambda load: pool.submit(ask, load).result()
        finally:
            _pin(cores)


def _pin(cores: list[int]) -> None:
    """Give every thread of this process these cores."""
    for thread in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(thread), cores)


def overhead(served: Served, asking: Clients, num_streams: int, num_requests: int, num_tokens: int) -> Overhead:
    """Measure one number of streams, with so many requests of each kind."""
    num_each = max(2, num_requests // num_streams)

    def answered(**fields: Any) -> Loaded:
        return asking(Load(served.port, _body(**fields), num_streams, num_each))

    asking(Load(served.port, _body(max_tokens=1), 1, NUM_WARM))
    whole, one = answered(max_tokens=16), answered(max_tokens=1, stream=True)
    many = answered(max_tokens=num_tokens, stream=True)
    num_answers = num_streams * num_each
    return Overhead(
        num_streams,
        median(whole.answers_s) * 1e3,
        p95(whole.answers_s) * 1e3,
        whole.wall_s / num_answers * 1e3,
        one.wall_s / num_answers * 1e3,
        (many.wall_s - one.wall_s) / num_answers / (num_tokens - 1) * 1e3,
    )


def paced(served: Served, asking: Clients, num_streams: int, num_tokens: int, step_s: float) -> Paced:
    """Measure streams of an engine that makes a token each `step_s`."""

    def core_s(num_each: int) -> tuple[float, Loaded]:
        began_s = time.process_time()
        loaded = asking(Load(served.port, _body(max_tokens=num_each, stream=True), num_streams, 1))
        return time.process_time() - began_s, loaded

    one_s, _ = core_s(1)
    many_s, loaded = core_s(num_tokens)
    late = loaded.wall_s / (num_tokens * step_s)
    return Paced(num_streams, 1 / step_s, late, (many_s - one_s) / num_streams / (num_tokens - 1) * 1e3)


def step_rates(served: Served, asking: Clients, num_streams: int, num_tokens: int, num_rounds: int) -> StepRates:
    """Decode the same answers in process and over HTTP, in turns; the rate is from the first token to the last."""
    letter = served.runtime.experts.find(NAME).text.tokenizer.token_to_id("a")
    assert letter is not None  # the tokenizer has every byte
    fields = {"max_tokens": num_tokens, "temperature": 0, "ignore_eos": True, "logit_bias": {letter: 100}}
    body = _body(stream=True, **fields)
    num_all = num_streams * num_tokens

    def in_process() -> float:
        running = _generate_all(served.runtime, num_streams, num_tokens, letter)
        return num_all / asyncio.run_coroutine_threadsafe(running, served.loop).result()

    def over_http() -> float:
        return num_all / asking(Load(served.port, body, num_streams, 1)).decode_s

    rates = in_turns({"process": in_process, "http": over_http}, num_rounds)
    ratios = tuple(over / alone for over, alone in zip(rates["http"], rates["process"], strict=True))
    return StepRates(num_streams, median(rates["process"]), median(rates["http"]), median(ratios), ratios)


def _body(**fields: Any) -> bytes:
    return json.dumps({"model": NAME, "messages": [{"role": "user", "content": PROMPT}], **fields}).encode()


async def _generate_all(runtime: Runtime, num_streams: int, num_tokens: int, letter: int) -> float:
    """Return the seconds from the first token of any answer to the last one of all."""
    first_s: list[float] = []

    async def generate(number: int) -> None:
        sampling = Sampling(num_tokens, 0.0, ignore_eos=True, logit_bias={letter: 100.0})
        request = GenerateRequest(f"in-process-{number}", (Message("user", PROMPT),), expert=NAME, sampling=sampling)
        async for _ in runtime.generate(request):
            if not first_s:
                first_s.append(time.monotonic())

    await asyncio.gather(*(generate(number) for number in range(num_streams)))
    return time.monotonic() - first_s[0]
