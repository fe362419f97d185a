"""Threads that share a compiled decode step: the calling thread leads, worker threads help and sleep between steps.

The leader never waits for a worker to come, so a worker that another process keeps from running costs only its help
(decode_kernel.py). Workers go to sleep some tens of microseconds after the last command, so that what the server does
between two steps has the processors to itself. Knows nothing about models.
"""

from __future__ import annotations

import threading
import time
from functools import cache
from typing import Any

import numpy as np

from coe.machine.allowance import usable_cpus
from coe.models.cpu.decode_kernel import compiled
from coe.models.cpu.decode_words import FOLLOW, WORDS

__all__ = ["WorkerThreads", "worker_threads"]

_AWAKE_S = 100e-6  # how long a worker looks for the next command before it sleeps


class WorkerThreads:
    """The words of a command and the workers that help with it. One thread leads at a time; others work alone."""

    def __init__(self, num_workers: int) -> None:
        self._run: Any = compiled()
        self._words, self._at = _words()
        self._taken = threading.Lock()
        spins = _spins(self._run, self._at, _AWAKE_S) if num_workers else 0
        self._workers = [_Worker(self._run, self._at, spins) for _ in range(num_workers)]

    def lead(self, role: int, step: int, block: int, num_threads: int) -> None:
        """Do a command with up to `num_threads` threads, this one among them."""
        if self._taken.acquire(blocking=False):
            try:
                for worker in self._workers[: num_threads - 1]:
                    worker.wake()
                self._run(role, self._at, step, block, num_threads)
            finally:
                self._taken.release()
        else:
            words, at = _words()
            self._run(role, at, step, block, 1)
            del words


class _Worker:
    """A daemon thread: it sleeps until woken, then works until no command has come for a while."""

    def __init__(self, run: Any, words: int, spins: int) -> None:
        self._run, self._words, self._spins = run, words, spins
        self._bell = threading.Event()
        self._is_awake = False
        threading.Thread(target=self._work, name="coe-step-worker", daemon=True).start()

    def wake(self) -> None:
        if not self._is_awake:
            self._is_awake = True
            self._bell.set()

    def _work(self) -> None:
        epoch = 0
        while self._bell.wait():
            self._bell.clear()
            epoch = self._run(FOLLOW, self._words, epoch, self._spins, 0)
            self._is_awake = False  # a command posted just before this gets no help from this worker


@cache
def worker_threads() -> WorkerThreads:
    """Return the process's worker threads, one fewer than the processors that it may use."""
    return WorkerThreads(usable_cpus() - 1)


def _spins(run: Any, words: int, seconds: float) -> int:
    """Return how many looks fit into that time: a pause takes 10 to 140 cycles, by processor."""
    looks = 10_000
    started_s = time.perf_counter()
    run(FOLLOW, words, 0, looks, 0)
    return max(1, int(looks * seconds / (time.perf_counter() - started_s)))


def _words() -> tuple[Any, int]:
    """Return shared words and their address, which begins a cache line."""
    memory = np.zeros(WORDS + 8, np.int64)
    address = memory.ctypes.data
    return memory, address + -address % 64
