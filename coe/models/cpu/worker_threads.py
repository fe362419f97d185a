"""Threads that share a compiled decode step: the engine's own, and helpers that sleep between steps.

Whoever leads never waits for a helper to come, so a helper that a busy neighbour keeps from running costs nothing but
its help (decode_kernel.py). Helpers go to sleep some tens of microseconds after the last command: what a server does
between two steps has the processors to itself. Knows nothing about models.
"""

from __future__ import annotations

import os
import threading
import time
from functools import cache
from typing import Any

import numpy as np

from coe.models.cpu.decode_kernel import compiled
from coe.models.cpu.decode_words import FOLLOW, WORDS

__all__ = ["Team", "team"]

_AWAKE_S = 100e-6  # that a helper looks for the next command before it sleeps


class Team:
    """A leader's words and its helpers. One leads at a time; who finds it taken works alone."""

    def __init__(self, num_helpers: int) -> None:
        self._run: Any = compiled()
        self._words, self._at = _words()
        self._taken = threading.Lock()
        spins = _spins(self._run, self._at, _AWAKE_S) if num_helpers else 0
        self._helpers = [_Helper(self._run, self._at, spins) for _ in range(num_helpers)]

    def lead(self, role: int, step: int, block: int, num_threads: int) -> None:
        """Have a command done by up to `num_threads` threads, this one among them."""
        if self._taken.acquire(blocking=False):
            try:
                for helper in self._helpers[: num_threads - 1]:
                    helper.wake()
                self._run(role, self._at, step, block, num_threads)
            finally:
                self._taken.release()
        else:
            words, at = _words()
            self._run(role, at, step, block, 1)
            del words


class _Helper:
    """A daemon thread: asleep until it is woken, then at work until nothing has been put up for a while."""

    def __init__(self, run: Any, words: int, spins: int) -> None:
        self._run, self._words, self._spins = run, words, spins
        self._bell = threading.Event()
        self._is_awake = False
        threading.Thread(target=self._work, name="coe-step-helper", daemon=True).start()

    def wake(self) -> None:
        if not self._is_awake:
            self._is_awake = True
            self._bell.set()

    def _work(self) -> None:
        epoch = 0
        while self._bell.wait():
            self._bell.clear()
            epoch = self._run(FOLLOW, self._words, epoch, self._spins, 0)
            self._is_awake = False  # a command that comes just before this is done without help


@cache
def team() -> Team:
    """The process's own."""
    return Team((os.cpu_count() or 1) - 1)


def _spins(run: Any, words: int, seconds: float) -> int:
    """How often one looks in that time: a pause takes 10 to 140 cycles, by processor."""
    looks = 10_000
    started_s = time.perf_counter()
    run(FOLLOW, words, 0, looks, 0)
    return max(1, int(looks * seconds / (time.perf_counter() - started_s)))


def _words() -> tuple[Any, int]:
    """Shared words, and where they are: at the beginning of a cache line."""
    memory = np.zeros(WORDS + 8, np.int64)
    address = memory.ctypes.data
    return memory, address + -address % 64
