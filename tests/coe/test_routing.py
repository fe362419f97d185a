"""Routing in batches: whatever a batch meets ends that batch alone, and each of its queries is answered."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
from seams import Panic

from coe.errors import ShutdownError
from coe.routing import RoutingBatcher, TextWorker
from coe.telemetry.metrics import Metrics
from coe.types import Decision, Message, RouteQuery, Snapshot

QUERY = RouteQuery((Message("user", "hello"),))
DECISION = Decision("llama", None, None, "general", "hello")


class FakeRouter:
    """Does what the next of `acts` does, else decides. Waits for `opened` first."""

    def __init__(self, *acts: Callable[[Sequence[RouteQuery]], Any]) -> None:
        self._acts = list(acts)
        self.entered, self.opened = threading.Event(), threading.Event()
        self.opened.set()

    def route(self, queries: Sequence[RouteQuery]) -> Any:
        self.entered.set()
        assert self.opened.wait(60)
        return self._acts.pop(0)(queries) if self._acts else [DECISION] * len(queries)


def run(
    router: FakeRouter,
    work: Callable[[RoutingBatcher], Coroutine[Any, Any, None]],
    snapshot: Callable[[], Snapshot] = Snapshot,
) -> None:
    async def main() -> None:
        worker = TextWorker()
        try:
            await work(RoutingBatcher(worker, router, Metrics(), snapshot))
        finally:
            worker.close()

    asyncio.run(main())


def raising(error: BaseException) -> Callable[..., Any]:
    def act(*_: object) -> Any:
        raise error

    return act


FAULTS = {
    "panic": raising(Panic("a Rust panic")),
    "SystemExit": raising(SystemExit(1)),
    "KeyboardInterrupt": raising(KeyboardInterrupt()),
    "CancelledError": raising(asyncio.CancelledError()),
    "StopIteration": raising(StopIteration()),
    "Exception": raising(ValueError("a bug")),
    "too few": lambda queries: [DECISION] * (len(queries) - 1),
    "too many": lambda queries: [DECISION] * (len(queries) + 1),
    "nothing": lambda _: None,
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_of_the_router_ends_its_batch_alone(fault: Callable[..., Any]) -> None:
    """What was no Exception, or came back in the wrong number, left all later requests waiting for ever."""

    async def work(batcher: RoutingBatcher) -> None:
        ends = await asyncio.gather(*(batcher.route(QUERY) for _ in range(3)), return_exceptions=True)
        assert all(isinstance(end, Exception) for end in ends)
        assert await batcher.route(QUERY) == DECISION

    run(FakeRouter(fault), work)


@pytest.mark.parametrize("error", [Panic("x"), SystemExit(1), RuntimeError("dictionary changed size")], ids=repr)
def test_a_fault_of_the_snapshot_ends_its_batch_alone(error: BaseException) -> None:
    taken = iter([raising(error)])

    def snapshot() -> Snapshot:
        return next(taken, Snapshot)()

    async def work(batcher: RoutingBatcher) -> None:
        with pytest.raises(RuntimeError):
            await batcher.route(QUERY)
        assert await batcher.route(QUERY) == DECISION

    run(FakeRouter(), work, snapshot)


@pytest.mark.parametrize("fails", [False, True])
def test_those_who_left_do_not_harm_those_who_wait(fails: bool) -> None:
    router = FakeRouter(raising(ValueError("a bug"))) if fails else FakeRouter()
    router.opened.clear()

    async def work(batcher: RoutingBatcher) -> None:
        first = [asyncio.create_task(batcher.route(QUERY)) for _ in range(3)]
        await asyncio.to_thread(router.entered.wait)
        second = [asyncio.create_task(batcher.route(QUERY)) for _ in range(3)]
        await asyncio.sleep(0)
        first[0].cancel()
        second[0].cancel()
        router.opened.set()
        ends = await asyncio.gather(*first, *second, return_exceptions=True)
        expected = ValueError if fails else Decision
        kinds = [asyncio.CancelledError, expected, expected, asyncio.CancelledError, Decision, Decision]
        assert [type(end) for end in ends] == kinds

    run(router, work)


def test_a_batch_that_waits_for_the_text_worker_is_refused_when_that_closes() -> None:
    async def main() -> None:
        worker, router = TextWorker(), FakeRouter()
        router.opened.clear()
        busy = asyncio.create_task(worker.run(router.route, [QUERY]))
        await asyncio.to_thread(router.entered.wait)
        waiting = asyncio.create_task(RoutingBatcher(worker, router, Metrics(), Snapshot).route(QUERY))
        await asyncio.sleep(0.01)
        worker.close()
        with pytest.raises(ShutdownError):
            await waiting
        router.opened.set()
        await busy

    asyncio.run(main())


@pytest.mark.parametrize("error", [Panic("x"), SystemExit(1), StopIteration(), asyncio.CancelledError()], ids=repr)
def test_text_work_raises_exceptions_and_nothing_else(error: BaseException) -> None:
    async def main() -> None:
        worker = TextWorker()
        with pytest.raises(RuntimeError, match=type(error).__name__):
            await worker.run(raising(error))
        assert await worker.run(lambda: 1) == 1
        worker.close()

    asyncio.run(main())
