"""The text worker, and routing in micro-batches on it.

Routing, templates and tokenising run on one thread beside the event loop, what may take seconds on another one, and
clients' embeddings on a third.
Prompts that come in while the router is busy go to it together in its next call. Whatever one piece of text or one
batch raises ends that piece or batch alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeAlias, TypeVar

from coe.errors import ShutdownError, reason_of
from coe.telemetry.metrics import Metrics
from coe.telemetry.shadow_log import ShadowLog
from coe.types import Decision, RouteQuery, Router, Snapshot

__all__ = ["RoutingBatcher", "TextWorker"]

T = TypeVar("T")
_Waiting: TypeAlias = "tuple[RouteQuery, asyncio.Future[Decision]]"


class TextWorker:
    """The threads for text. Work begun before `close` ends, waiting work is cancelled, later work is refused with
    ShutdownError."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="coe-text", initializer=_one_math_thread)
        self._slow_threads = ThreadPoolExecutor(1, thread_name_prefix="coe-slow-text")
        self._embedding_threads = ThreadPoolExecutor(1, "coe-embedding", _one_math_thread)
        self._is_closed = False

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """Return what `work` returns on the text thread; raises what it raises."""
        return await self._run_on(self._threads, work, *arguments)

    async def run_slow(self, work: Callable[..., T], *arguments: Any) -> T:
        """Return what `work` returns on the thread for work of seconds; raises what it raises."""
        return await self._run_on(self._slow_threads, work, *arguments)

    async def run_embedding(self, work: Callable[..., T], *arguments: Any) -> T:
        """Return what `work` returns on the thread for clients' embeddings; raises what it raises."""
        return await self._run_on(self._embedding_threads, work, *arguments)

    def close(self) -> None:
        self._is_closed = True
        for threads in (self._threads, self._slow_threads, self._embedding_threads):
            threads.shutdown(wait=False, cancel_futures=True)

    async def _run_on(self, threads: ThreadPoolExecutor, work: Callable[..., T], *arguments: Any) -> T:
        if self._is_closed:
            raise ShutdownError("the server is shutting down")
        return await asyncio.get_running_loop().run_in_executor(threads, _guarded, work, *arguments)


class RoutingBatcher:
    """Routes queries in batches; `snapshot` is taken once per batch and tells the router about the experts."""

    def __init__(self, worker: TextWorker, router: Router, metrics: Metrics, snapshot: Callable[[], Snapshot]) -> None:
        self._worker, self._router, self._metrics, self._snapshot = worker, router, metrics, snapshot
        self._shadow = ShadowLog(metrics)
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None

    async def route(self, query: RouteQuery) -> Decision:
        """Return the decision for one query; raises what the router raises."""
        started_s = time.monotonic()
        future: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self._waiting.append((query, future))
        if self._task is None:
            self._task = asyncio.create_task(self._drain())
        decision = await future
        self._metrics.routed(time.monotonic() - started_s)
        self._shadow.note(query, decision)
        return decision

    async def _drain(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                await self._route(batch)
        finally:
            self._task = None

    async def _route(self, batch: Sequence[_Waiting]) -> None:
        """Answer every query of the batch, whatever happens to it."""
        try:
            decisions = await self._worker.run(self._decide, [query for query, _ in batch])
        except asyncio.CancelledError:  # the runtime closes, or its event loop
            _fail(batch, ShutdownError("the server is shutting down"))
        except Exception as error:  # thread edge: every query of the batch gets it
            _fail(batch, error)
        else:
            for (_, future), decision in zip(batch, decisions, strict=True):
                if not future.done():
                    future.set_result(decision)

    def _decide(self, queries: Sequence[RouteQuery]) -> Sequence[Decision]:
        """On the text worker: one snapshot for the batch, then the router."""
        snapshot = self._snapshot()
        decisions = list(self._router.route([replace(query, snapshot=snapshot) for query in queries]))
        if len(decisions) != len(queries):
            raise RuntimeError(f"the router made {len(decisions)} decisions of {len(queries)} prompts; report this")
        return decisions


def _fail(batch: Sequence[_Waiting], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)


def _guarded(work: Callable[..., T], *arguments: Any) -> T:
    """On the text worker: what would end a thread or a loop (SystemExit, a Rust panic) or cannot be handed over
    (StopIteration) becomes an exception like any other."""
    try:
        return work(*arguments)
    except BaseException as error:
        if isinstance(error, Exception) and not isinstance(error, StopIteration):
            raise
        raise RuntimeError(f"the text of a request could not be worked on ({reason_of(error)})") from error


def _one_math_thread() -> None:
    import torch

    torch.set_num_threads(1)  # the worker's own: routing must not take cores from the engine
