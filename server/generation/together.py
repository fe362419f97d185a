"""Several generations as one: a list of prompts that is answered by one response.

Their events come as they happen; the choices of each request follow those of the one before it. At most MOST_AT_ONCE
are under way, so that a long list does not fill the queue. The first that fails ends all. Knows nothing about what
requests and answers look like.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

from coe.types import GenerateEvent

__all__ = ["MOST_AT_ONCE", "together"]

MOST_AT_ONCE = 32
MOST_UNREAD = 64  # events that wait for whoever reads the response

Generate = Callable[[], AsyncGenerator[GenerateEvent, None]]


async def together(generations: Sequence[Generate], num_choices: int) -> AsyncGenerator[GenerateEvent, None]:
    """Yield the events of all generations, with `index` counted over all of them; raises what the first to fail raises.

    Each has `num_choices`. A generation begins with Routed, which may come after events of another one.
    """
    if len(generations) == 1:
        async with aclosing(generations[0]()) as events:
            async for event in events:
                yield event
        return
    queue: asyncio.Queue[GenerateEvent | None] = asyncio.Queue(MOST_UNREAD)
    places = asyncio.Semaphore(MOST_AT_ONCE)

    async def run(number: int, generate: Generate) -> None:
        async with places, aclosing(generate()) as events:
            async for event in events:
                await queue.put(replace(event, index=number * num_choices + event.index))

    async def run_all() -> None:
        failed: Exception | None = None
        try:
            async with asyncio.TaskGroup() as group:
                for number, generate in enumerate(generations):
                    group.create_task(run(number, generate))
        except* Exception as errors:
            failed = _first(errors)
        await queue.put(None)
        if failed is not None:
            raise failed

    running = asyncio.create_task(run_all())
    try:
        while (arrived := await queue.get()) is not None:
            yield arrived
        await running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def _first(errors: BaseExceptionGroup[Exception]) -> Exception:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
