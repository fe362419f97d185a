"""Tokens of a generation, counted against the allowance of the key that asked, as they come."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from coe.types import Delta, GenerateEvent, Routed
from server.access.caller import Caller

__all__ = ["metered"]


async def metered(events: AsyncGenerator[GenerateEvent, None], caller: Caller) -> AsyncGenerator[GenerateEvent, None]:
    """Yield the events and charge the prompt once and every sampled token; closes `events` in any case.

    A kept answer costs no tokens: nothing was computed for it.
    """
    async with aclosing(events):
        async for event in events:
            if caller.allowance:
                match event:
                    case Routed(cached=None):
                        caller.allowance.charge(event.prompt_tokens, time.monotonic())
                    case Delta():
                        caller.allowance.charge(len(event.token_ids), time.monotonic())
            yield event
