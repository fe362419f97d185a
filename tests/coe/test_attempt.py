"""What the engine says to one request's coroutine, and a caller who does not listen."""

from __future__ import annotations

import asyncio

import pytest

from coe.attempt import _Events
from coe.errors import CancelledError, OverloadedError
from coe.types import Delta, Finished, FinishReason, Switch, SwitchKind, Usage

END = Finished(FinishReason.LENGTH, Usage(1, 3), Switch(SwitchKind.DEVICE_HIT, 0, 0.0, 0.0, 0.0))


def test_a_caller_who_took_nothing_hears_the_end_though_the_engine_had_said_its_last() -> None:
    """The last event was dropped, and no other one could come: the request hung for ever."""

    async def work() -> None:
        given_up: list[bool] = []
        events = _Events(2, lambda: given_up.append(True))
        for event in (Delta("a", (1,)), Delta("b", (2,)), Delta("c", (3,)), END):
            events.put(event)
        assert [await events.get(), await events.get()] == [Delta("a", (1,)), Delta("b", (2,))]
        with pytest.raises(CancelledError):
            await asyncio.wait_for(events.get(), 60)
        assert given_up == [True]

    asyncio.run(work())


def test_an_error_is_heard_however_much_waits() -> None:
    async def work() -> None:
        events = _Events(1, lambda: None)
        events.put(Delta("a", (1,)))
        events.put(OverloadedError("no more"))
        assert await events.get() == Delta("a", (1,))
        with pytest.raises(OverloadedError):
            await events.get()

    asyncio.run(work())
