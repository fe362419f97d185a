"""A long run over HTTP with everything that goes wrong for one request or one expert: nothing is left behind.

Sixteen clients ask three experts, of which the device holds two; some leave before their answer, deadlines pass,
operators load, unload, pin and unpin, reads fail and kernels raise. Each request is answered exactly once, and
afterwards leases, KV, queues, file descriptors, threads and tasks are what they were; memory stays at its plateau.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import random
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import proofs
import pytest
from compositions import integrity, write_config
from http_answers import check_answered_once, texts_of
from random_load import Event, Faults, events
from server_live import Live, live_server

from coe.runtime import Runtime

EXPERTS = ("llama", "other", "qwen3")
NUM_CLIENTS = 16
ANSWERED_WITH = {"ok", "left", "overloaded", "deadline_exceeded", "expert_unavailable"}
PLATEAU_BYTES = 64 << 20


class Left(NamedTuple):
    """What a process holds: file descriptors, threads, the server's tasks, and what the engine has taken in."""

    file_descriptors: int
    threads: int
    tasks: int
    leases: int
    kv_bytes: int
    sequences: int
    jobs: int


class Soak:
    """A server and its clients, all in this process."""

    def __init__(self, live: Live, loop: asyncio.AbstractEventLoop, faults: Faults) -> None:
        self.live, self.faults, self._server_loop = live, faults, loop
        self.ends: Counter[str] = Counter()
        self.num_requests = 0
        self.rss_bytes: list[int] = []

    async def texts(self) -> list[dict[int, str]]:
        async with self.client() as client:
            for name in EXPERTS:
                await client.post(f"/admin/experts/{name}/load")  # which closes its breaker
            answers = [await client.post("/v1/chat/completions", json=body_of(name, "hello", 8)) for name in EXPERTS]
        assert [answer.status_code for answer in answers] == [200] * len(EXPERTS), answers[0].text
        return [texts_of(answer) for answer in answers]

    async def run(self, num_requests: int, chance: random.Random) -> None:
        """Ask so many requests; the clients take the events in turn."""
        source = self._counted(events(chance, EXPERTS), num_requests)
        async with self.client() as client, asyncio.TaskGroup() as clients:
            for _ in range(NUM_CLIENTS):
                clients.create_task(self._be_client(client, source))

    async def settled(self) -> Left:
        """Unpin everything and return what is left when the engine has nothing to do."""
        async with self.client() as client:
            for name in EXPERTS:
                await client.post(f"/admin/experts/{name}/unpin")
        while self.live.runtime._life.num_running or any(map(self._num_requests, EXPERTS)):
            await asyncio.sleep(0)
        await integrity(self.live.runtime)
        before, left = None, await self._counted_left()
        while left != before:  # closed sockets are let go by the server's own loop
            await asyncio.sleep(0.1)
            before, left = left, await self._counted_left()
        return left

    async def _counted_left(self) -> Left:
        return await asyncio.wrap_future(self.live.runtime.engine.call(self._left))

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        limits = httpx.Limits(max_connections=2 * NUM_CLIENTS, max_keepalive_connections=0)
        async with httpx.AsyncClient(base_url=self.live.url, timeout=120, limits=limits) as client:
            yield client

    def _counted(self, source: Iterator[Event], num_requests: int) -> Iterator[Event]:
        while self.num_requests < num_requests:
            event = next(source)
            self.num_requests += event.kind in ("ask", "leave")
            if self.num_requests % max(1, num_requests // 50) == 0:
                self.rss_bytes.append(rss_bytes())
            yield event

    async def _be_client(self, client: httpx.AsyncClient, source: Iterator[Event]) -> None:
        for event in source:
            if event.kind == "ask":
                self.ends[await self._ask(client, event)] += 1
            elif event.kind == "leave":
                self.ends[await self._leave(client, event)] += 1
            elif event.kind != "pause":
                answer = await client.post(f"/admin/experts/{event.expert}/{event.kind}")
                assert answer.status_code in (200, 503), answer.text  # no room beside what is pinned or running

    async def _ask(self, client: httpx.AsyncClient, event: Event) -> str:
        body = body_of(event.expert, event.prompt, event.num_tokens, stream=bool(event.number % 2))
        return check_answered_once(await client.post("/v1/chat/completions", json=body))

    async def _leave(self, client: httpx.AsyncClient, event: Event) -> str:
        """Close the connection before the answer has come, or after some of its lines."""
        body = body_of(event.expert, event.prompt, 120, stream=True)
        async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            async for _ in _first(answer.aiter_lines(), event.number % 8):
                pass
        return "left"

    def _num_requests(self, expert: str) -> int:
        return self.live.runtime.engine.status.num_requests(expert)

    def _left(self) -> Left:
        """On the engine thread."""
        gc.collect()
        engine = self.live.runtime.engine
        for release in engine._scheduler.release_idle():
            engine._do(release)
        return Left(
            file_descriptors=len(os.listdir("/proc/self/fd")),
            threads=threading.active_count(),
            tasks=len(asyncio.all_tasks(self._server_loop)),
            leases=sum(engine.status.residency(name).num_leases for name in EXPERTS),
            kv_bytes=engine._scheduler.kv_used_bytes,
            sequences=len(engine._sequences),
            jobs=len(engine._scheduler.queues.jobs),
        )


async def _first(lines: AsyncIterator[str], count: int) -> AsyncIterator[str]:
    number = 0
    async for line in lines:
        if number == count:
            return
        number += 1
        yield line


def body_of(expert: str, prompt: str, num_tokens: int, *, stream: bool = False) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}]
    return {"model": expert, "messages": messages, "temperature": 0, "max_tokens": num_tokens, "stream": stream}


def rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def soak(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    llama_folder: Path,
    other_llama_folder: Path,
    qwen3_folder: Path,
) -> Iterator[Soak]:
    folders = dict(zip(EXPERTS, (llama_folder, other_llama_folder, qwen3_folder), strict=True))
    config = write_config(tmp_path, folders)
    text = config.read_text().replace('device = "cpu"', 'device = "emulated"\nkv_bytes = "1MB"')
    text = text.replace('host_bytes = "64MB"', 'host_bytes = "2500kB"\ndevice_bytes = "1500kB"')
    config.write_text(text + "\n[scheduler]\nslice_steps = 2\nmax_wait_s = 0.05\ndeadline_s = 2\nmax_queue = 12\n")
    loops, real = [], Runtime.start

    async def start(runtime: Runtime) -> None:
        loops.append(asyncio.get_running_loop())
        await real(runtime)

    monkeypatch.setattr(Runtime, "start", start)
    faults = Faults(monkeypatch, random.Random(proofs.seed()), scale=0.05)
    with live_server(config) as live:
        yield Soak(live, loops[0], faults)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_every_request_is_answered_once_and_nothing_is_left(
    soak: Soak, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    num_requests = proofs.num_cases(sample=300, full=10_000)
    logging.disable()  # pytest keeps every record, and with it the frames of every trace
    request.addfinalizer(lambda: logging.disable(logging.NOTSET))

    async def work() -> tuple[Left, Left]:
        before = await soak.texts()
        await soak.run(2 * NUM_CLIENTS, random.Random(-1))  # threads and connections that stay are there after it
        at_first = await soak.settled()
        soak.num_requests = 0
        soak.ends.clear()
        soak.faults.is_on = True
        await soak.run(num_requests, random.Random(proofs.seed()))
        soak.faults.is_on = False
        at_last = await soak.settled()
        assert await soak.texts() == before
        return at_first, at_last

    at_first, at_last = asyncio.run(work())
    third = max(1, len(soak.rss_bytes) // 3)
    growth_bytes = max(soak.rss_bytes[third:]) - max(soak.rss_bytes[:third])
    record_property("num_requests", num_requests)
    record_property("num_faults", soak.faults.num_raised)
    record_property("ends", json.dumps(soak.ends))
    record_property("rss_mb", max(soak.rss_bytes) >> 20)
    record_property("rss_growth_mb", round(growth_bytes / (1 << 20), 1))
    assert sum(soak.ends.values()) == num_requests
    assert set(soak.ends) <= ANSWERED_WITH
    assert soak.ends["ok"] > num_requests // 4
    assert soak.ends["left"]
    assert at_last == at_first
    assert at_last[3:] == (0, 0, 0, 0)
    assert growth_bytes < PLATEAU_BYTES
