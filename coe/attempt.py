"""One attempt to have an expert answer: the sequences of a request's choices in the engine, and what they say.

The engine says first that it has admitted all of them, or why it takes none. Knows nothing about which expert to ask
next where one fails (fallback.py, runtime.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence

from coe.engine.events import Cancel, Submit
from coe.engine.loop import Engine
from coe.errors import CancelledError, CoeError, DeadlineError
from coe.fallback import Patience
from coe.lifecycle import Lifecycle
from coe.preparation import PreparedPrompt, sequence_of
from coe.scheduling.effects import CANCELLED
from coe.telemetry.metrics import Metrics, RequestCount
from coe.types import Admitted, Delta, Finished, GenerateEvent, PromptScored, Routed

__all__ = ["attempt"]

log = logging.getLogger("coe.runtime")

MAX_UNREAD = 512  # events of each choice that wait for a caller, for example one whose client reads nothing


async def attempt(
    engine: Engine,
    life: Lifecycle,
    metrics: Metrics,
    choices: Sequence[PreparedPrompt],
    count: RequestCount,
    patience: Patience,
) -> AsyncGenerator[GenerateEvent, None]:
    """Yield Routed, then the events of one sequence per choice until the last has finished; if one fails, all end.

    When `life` ends, all end with its reason, whether or not the engine can still say so. Routed comes with the first
    event, or when `patience` is over. Raises CoeError, also where patience gives up then.
    """

    def cancel() -> None:
        for sequence in sequences:
            engine.post(Cancel(sequence.id))

    events, first = _Events(MAX_UNREAD * len(choices), cancel), choices[0]
    sequences = tuple(sequence_of(prompt, index, events.put) for index, prompt in enumerate(choices))
    num_left = len(sequences)
    try:
        with life.heard(events.put):
            engine.post(Submit(sequences, first.keep_alive_s))
            try:
                await events.admitted()
            except CoeError:
                num_left = 0  # none was taken in
                raise
            event = await events.get_within(patience.wait_s)
            if event is None and patience.gives_up:
                expert, wait_s = first.decision.expert, patience.wait_s
                raise DeadlineError(f"no token from expert '{expert}' in {wait_s:.1f} s of the deadline", expert=expert)
            switch = event.switch if isinstance(event, Delta | Finished) else None
            yield Routed(first.decision, first.tier, len(first.token_ids), first.changed, switch=switch)
            while num_left:
                event = event or await events.get()
                if isinstance(event, Finished):
                    num_left -= 1
                    if not num_left:
                        count.outcome = "ok"  # before the caller sees it, who may stop listening
                    if event.usage.completion_tokens:
                        metrics.first_token(event.switch.first_token_s)
                yield event
                event = None
    finally:
        if num_left:
            cancel()


class _Events:
    """What the engine thread says to one request's coroutine.

    Bounded: when `max_unread` events wait for a caller who takes none, `give_up` is called, all further events are
    dropped, and CancelledError comes after those that wait.
    """

    def __init__(self, max_unread: int, give_up: Callable[[], None]) -> None:
        self._max_unread, self._give_up = max_unread, give_up
        self._is_given_up = False
        self._queue: asyncio.Queue[Admitted | PromptScored | Delta | Finished | CoeError] = asyncio.Queue()
        self._hand_over = asyncio.get_running_loop().call_soon_threadsafe

    def put(self, event: Admitted | PromptScored | Delta | Finished | CoeError) -> None:
        """Any thread."""
        self._hand_over(self._take, event)

    def _take(self, event: Admitted | PromptScored | Delta | Finished | CoeError) -> None:
        if self._is_given_up:
            return
        if isinstance(event, CoeError) or self._queue.qsize() < self._max_unread:
            self._queue.put_nowait(event)
            return
        self._is_given_up = True
        log.warning("give up unread=%d: the caller takes no events", self._max_unread)
        self._queue.put_nowait(CancelledError(CANCELLED))  # not the engine's: its last event may be dropped here
        self._give_up()

    async def admitted(self) -> None:
        """Return when the engine has taken the request in; raises the error that keeps it out."""
        event = await self._queue.get()
        if isinstance(event, CoeError):
            raise event
        assert isinstance(event, Admitted)

    async def get(self) -> PromptScored | Delta | Finished:
        """Return the next event; raises the error that ended a sequence."""
        event = await self._queue.get()
        if isinstance(event, CoeError):
            raise event
        assert not isinstance(event, Admitted)
        return event

    async def get_within(self, timeout_s: float | None) -> PromptScored | Delta | Finished | None:
        """Return the next event as `get` does, None where none comes in time; None waits without limit."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self.get()
        except TimeoutError:
            return None
