"""An engine that answers at once, or at a pace, so that what is left of a request's time is the server's.

Stands in front of a real engine, which is told of nothing but what is no request. Every answer is as many words as it
may have tokens.
"""

from __future__ import annotations

import asyncio
from typing import Any

from coe.engine.events import Cancel, Event, Hint, Submit
from coe.engine.loop import Engine
from coe.engine.sequence import Sequence
from coe.types import Admitted, Delta, Finished, FinishReason, Switch, SwitchKind, Usage

__all__ = ["InstantEngine"]

_SWITCH = Switch(SwitchKind.DEVICE_HIT, 0, 0.0, 0.0, 0.0)
_WORD = "word "


class InstantEngine:
    """Answers on the loop of the thread that submits; all else is the real engine's.

    With `step_s` above 0 each answer gets a token after so many seconds.
    """

    def __init__(self, engine: Engine, step_s: float = 0.0) -> None:
        self._engine, self._step_s = engine, step_s
        self._pacing = set[asyncio.Task[None]]()  # the loop keeps no task alive

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def post(self, event: Event) -> None:
        if isinstance(event, Submit):
            for sequence in event.sequences:
                assert isinstance(sequence, Sequence)  # it embeds nothing
                self._answer(sequence)
        elif not isinstance(event, Cancel | Hint):
            self._engine.post(event)

    def _answer(self, sequence: Sequence) -> None:
        if not sequence.index:
            sequence.sink(Admitted())
        if not self._step_s:
            for number in range(sequence.max_tokens):
                sequence.sink(_token(sequence, number))
            sequence.sink(_end(sequence))
            return
        pacing = asyncio.get_running_loop().create_task(self._pace(sequence))
        self._pacing.add(pacing)
        pacing.add_done_callback(self._pacing.discard)

    async def _pace(self, sequence: Sequence) -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        for number in range(sequence.max_tokens):
            await asyncio.sleep(began_s + (number + 1) * self._step_s - loop.time())
            sequence.sink(_token(sequence, number))
        sequence.sink(_end(sequence))


def _token(sequence: Sequence, number: int) -> Delta:
    return Delta(_WORD, (number,), sequence.index, switch=None if number else _SWITCH)


def _end(sequence: Sequence) -> Finished:
    usage = Usage(len(sequence.prompt_ids), sequence.max_tokens)
    return Finished(FinishReason.LENGTH, usage, _SWITCH, sequence.index)
