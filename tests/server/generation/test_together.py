"""Several generations in one: every event once, choices in a row, and nothing left running."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import pytest

from coe.errors import CoeError, OverloadedError
from coe.types import Decision, Delta, GenerateEvent, Routed, Tier
from server.generation.together import MOST_AT_ONCE, MOST_UNREAD, together

ROUTED = Routed(Decision("general", None, None, "general", ""), Tier.DEVICE, 3)
Generate = Callable[[], AsyncGenerator[GenerateEvent, None]]


class Generations:
    """Generations that count how many are open."""

    def __init__(self) -> None:
        self.num_open = self.most_open = 0

    def of(self, *events: GenerateEvent | CoeError) -> Generate:
        async def generate() -> AsyncGenerator[GenerateEvent, None]:
            self.num_open += 1
            self.most_open = max(self.most_open, self.num_open)
            try:
                for event in events:
                    await asyncio.sleep(0)
                    if isinstance(event, CoeError):
                        raise event
                    yield event
            finally:
                self.num_open -= 1

        return generate


async def all_of(generations: list[Generate], num_choices: int) -> list[GenerateEvent]:
    return [event async for event in together(generations, num_choices)]


def test_the_choices_of_each_request_follow_those_of_the_one_before_it() -> None:
    made = Generations()
    events = (ROUTED, Delta("a", (1,), 0), Delta("b", (2,), 1))
    found = asyncio.run(all_of([made.of(*events) for _ in range(3)], 2))
    assert sorted(event.index for event in found if isinstance(event, Routed)) == [0, 2, 4]
    assert sorted((event.index, event.text) for event in found if isinstance(event, Delta)) == [
        *((0, "a"), (1, "b"), (2, "a"), (3, "b"), (4, "a"), (5, "b"))
    ]


def test_a_long_list_runs_a_part_at_a_time() -> None:
    made = Generations()
    found = asyncio.run(all_of([made.of(ROUTED, Delta("a", (1,)))] * (3 * MOST_AT_ONCE), 1))
    assert len(found) == 6 * MOST_AT_ONCE
    assert 1 < made.most_open <= MOST_AT_ONCE
    assert made.num_open == 0


@pytest.mark.parametrize("others", [0, 1, 40])
def test_the_first_that_fails_ends_all(others: int) -> None:
    made = Generations()
    long = made.of(ROUTED, *(Delta("a", (1,)) for _ in range(1000)))
    with pytest.raises(OverloadedError, match="full"):
        asyncio.run(all_of([long] * others + [made.of(ROUTED, OverloadedError("full"))], 1))
    assert made.num_open == 0


@pytest.mark.parametrize("num_read", [1, 5])
def test_a_reader_that_leaves_leaves_nothing_running(num_read: int) -> None:
    made = Generations()
    long = made.of(ROUTED, *(Delta("a", (1,)) for _ in range(4 * MOST_UNREAD)))

    async def leave() -> None:
        async with aclosing(together([long] * 3, 1)) as events:
            for _ in range(num_read):
                await anext(events)
                await asyncio.sleep(0.01)

    asyncio.run(leave())
    assert made.num_open == 0
