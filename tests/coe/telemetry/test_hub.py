"""The hub: every listener gets every event once and in order, or is told how many it has lost; any thread publishes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

from coe.telemetry import hub as hub_module
from coe.telemetry.events import Pinned, StateChanged
from coe.telemetry.hub import QUEUE_EVENTS, RING_EVENTS, EventHub, Listener


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


async def numbers(listener: Listener, num: int) -> list[int]:
    found: list[int] = []
    while len(found) < num:
        found += [event.seq for event in (await listener.take(30)).events]
    return found


def test_every_listener_gets_what_is_published_from_any_thread_once_and_in_order() -> None:
    async def work() -> None:
        hub = EventHub()
        first, second = hub.listen(), hub.listen()

        def publish() -> None:
            for _ in range(100):
                hub.publish(Pinned("a", is_pinned=True))

        threads = [threading.Thread(target=publish) for _ in range(4)]
        for thread in threads:
            thread.start()
        assert await numbers(first, 400) == await numbers(second, 400) == list(range(1, 401))
        for thread in threads:
            thread.join()
        assert hub.seq == 400

    run(work())


def test_a_slow_listener_loses_the_oldest_and_is_told_how_many() -> None:
    async def work() -> None:
        hub = EventHub()
        listener = hub.listen()
        for _ in range(QUEUE_EVENTS + 7):
            hub.publish(StateChanged("ready"))
        taken = await listener.take(30)
        assert taken.num_lost == 7
        assert [taken.events[0].seq, len(taken.events)] == [8, QUEUE_EVENTS]
        hub.publish(StateChanged("ready"))
        assert (await listener.take(30)).num_lost == 0

    run(work())


def test_who_comes_back_gets_what_the_ring_still_has() -> None:
    async def work() -> None:
        hub = EventHub()
        for _ in range(10):
            hub.publish(Pinned("a", is_pinned=True))
        assert [event.seq for event in hub.listen(after=7).take_now().events] == [8, 9, 10]
        assert hub.listen(after=10).take_now() == hub_module.Taken((), 0, False)
        for _ in range(RING_EVENTS):
            hub.publish(Pinned("a", is_pinned=False))
        taken = hub.listen(kinds=["state"], after=7).take_now()
        assert (taken.events, taken.num_lost) == ((), 3)

    run(work())


def test_kinds_that_are_not_wanted_take_no_place() -> None:
    async def work() -> None:
        hub = EventHub()
        listener = hub.listen(kinds={"pin"})
        for _ in range(QUEUE_EVENTS):
            hub.publish(StateChanged("ready"))
        hub.publish(Pinned("a", is_pinned=True))
        taken = await listener.take(30)
        assert [event.what for event in taken.events] == [Pinned("a", is_pinned=True)]
        assert taken.num_lost == 0

    run(work())


def test_patience_ends_and_the_end_is_told_to_all_also_to_who_comes_later() -> None:
    async def work() -> None:
        hub = EventHub()
        listener = hub.listen()
        assert await listener.take(0.01) == hub_module.Taken((), 0, False)
        hub.publish(Pinned("a", is_pinned=True))
        hub.close()
        taken = await listener.take(30)
        assert (len(taken.events), taken.is_over) == (1, True)
        assert (await hub.listen().take(30)).is_over

    run(work())


def test_a_closed_listener_is_no_listener_and_a_closed_loop_stops_nobody() -> None:
    hub = EventHub()

    async def work() -> None:
        listener = hub.listen()
        assert hub.is_heard
        listener.close()
        assert not hub.is_heard
        hub.listen()

    run(work())
    hub.publish(Pinned("a", is_pinned=True))
    assert hub.seq == 1
