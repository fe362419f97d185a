"""What strangers do, in a seeded random order: requests, departures, operators' commands; and faults at a rate.

Knows nothing about whether a runtime or a server is asked.
"""

from __future__ import annotations

import errno
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import pytest

from coe.models.cpu.compiled_llama import DecodePass
from coe.models.llama.ragged import RaggedPass
from coe.weights.memory.device import EmulatedDevice
from coe.weights.store import file_reads

__all__ = ["Event", "Faults", "events"]

Kind = Literal["ask", "leave", "load", "unload", "pin", "unpin", "pause"]
WEIGHTS: dict[Kind, int] = {"ask": 8, "leave": 2, "load": 1, "unload": 2, "pin": 1, "unpin": 2, "pause": 2}


class Event(NamedTuple):
    """`number` is one that an event may choose with, whatever there is to choose from."""

    kind: Kind
    expert: str
    prompt: str
    num_tokens: int
    number: int


def events(chance: random.Random, experts: Sequence[str]) -> Iterator[Event]:
    """Yield events without end; most answers are short, some long enough to be preempted."""
    while True:
        kind = chance.choices(tuple(WEIGHTS), tuple(WEIGHTS.values()))[0]
        prompt = "word " * chance.randrange(1, 40)
        num_tokens = chance.choice((chance.randrange(1, 24), chance.randrange(1, 24), 120))
        yield Event(kind, chance.choice(experts), prompt, num_tokens, chance.randrange(1 << 30))


class Faults:
    """While they are on, reads fail, the device has no memory and kernels raise, each at a rate.

    Each concerns one expert. `num_raised` counts them.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, chance: random.Random, *, scale: float = 1.0) -> None:
        self.is_on, self.num_raised = False, 0
        self._chance, self._lock = chance, threading.Lock()
        for owner, name, rate, error in (
            (file_reads, "_read_cached", 0.02, lambda: OSError(errno.EIO, "Input/output error")),
            (EmulatedDevice, "copy", 0.01, lambda: RuntimeError("a copy failed")),
            (RaggedPass, "run_unit", 0.002, lambda: RuntimeError("a kernel failed")),
            (DecodePass, "run_unit", 0.002, lambda: RuntimeError("a kernel failed")),
        ):
            monkeypatch.setattr(owner, name, self._wrapped(getattr(owner, name), rate * scale, error))

    def _wrapped(self, real: Callable[..., Any], rate: float, error: Callable[[], Exception]) -> Callable[..., Any]:
        def work(*arguments: Any, **named: Any) -> Any:
            with self._lock:
                raises = self.is_on and self._chance.random() < rate
                self.num_raised += raises
            if raises:
                raise error()
            return real(*arguments, **named)

        return work
