"""Moves units on threads of its own, disk -> host and host -> device, and reports each end with an event.

Threads share the pieces of a unit; the one that ends last checks the whole unit and reports. Knows which bytes go where
and nothing else: no budgets, no leases, no decisions.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any, NamedTuple, Protocol

import torch

from coe.types import Tier
from coe.weights.unit import Unit

__all__ = ["NUM_THREADS", "Arrived", "Copier", "DiskReader", "LaneCopier", "StreamCopier", "UnitSource"]

log = logging.getLogger("coe.weights.transfer")

NUM_THREADS = 2  # per link: enough to fill a disk's queue or a memory bus, few enough to leave cores to compute
COPY_PIECE_BYTES = 16 << 20  # with smaller pieces, handing them over costs a tenth of the copy


@dataclass(frozen=True, slots=True)
class Arrived:
    """The end of a transfer: `error` is None if all bytes are there. Times are monotonic seconds."""

    unit_hash: str
    size_bytes: int
    tier: Tier  # where the bytes were going
    started_s: float
    ended_s: float
    error: BaseException | None = None


class UnitSource(Protocol):
    """What units are read from: the store, or the experts' own files."""

    def reads(self, unit: Unit, target: memoryview) -> Sequence[Callable[[], None]]:
        """Return calls that together fill `target`, in any order and on any threads; they raise OSError or EOFError."""
        ...

    def check(self, unit: Unit, target: memoryview) -> None:
        """Raise ValueError if `target` does not have the unit's bytes; called when all reads have succeeded."""
        ...


class Copier(Protocol):
    """Copies host frames to device frames, in the order of the calls."""

    def copy(self, unit_hash: str, source: torch.Tensor, target: torch.Tensor) -> None:
        """Start a copy on the engine thread; an `Arrived` is posted when the bytes are there."""
        ...

    def close(self) -> None:
        """Wait for copies that have begun."""
        ...


class DiskReader:
    """Reads units into host frames, the pieces of a unit in parallel."""

    def __init__(self, source: UnitSource, post: Callable[[Arrived], None], *, num_threads: int = NUM_THREADS) -> None:
        self._source, self._post = source, post
        self._threads = ThreadPoolExecutor(num_threads, thread_name_prefix="coe-read", initializer=_one_math_thread)

    def read(self, unit: Unit, frame: torch.Tensor) -> None:
        """Start filling the frame; an `Arrived` is posted when the last byte is there and the unit has been checked."""
        target = _view(frame)
        try:
            reads = self._source.reads(unit, target)
        except BaseException as error:  # the edge to the file system: any failure is reported with the unit
            reads = [partial(_raise, error)]
        check = partial(self._source.check, unit, target)
        countdown = _Countdown(unit.hash, unit.size_bytes, Tier.HOST, len(reads), check, self._post)
        for read in reads:
            countdown.begin(self._threads, read)

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)


class LaneCopier:
    """Copies with the processor on `num_lanes` threads; several lanes share the pieces of a unit."""

    def __init__(
        self,
        post: Callable[[Arrived], None],
        copy: Callable[[torch.Tensor, torch.Tensor], None],
        *,
        num_lanes: int,
    ) -> None:
        self._post, self._copy, self._num_lanes = post, copy, num_lanes
        self._threads = ThreadPoolExecutor(num_lanes, thread_name_prefix="coe-copy", initializer=_one_math_thread)

    def copy(self, unit_hash: str, source: torch.Tensor, target: torch.Tensor) -> None:
        size = source.numel() if self._num_lanes == 1 else COPY_PIECE_BYTES
        pieces = [slice(at, at + size) for at in range(0, source.numel(), size)]
        countdown = _Countdown(unit_hash, source.numel(), Tier.DEVICE, len(pieces), lambda: None, self._post)
        for piece in pieces:
            countdown.begin(self._threads, partial(self._copy, source[piece], target[piece]))

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)


class _Queued(NamedTuple):
    unit_hash: str
    size_bytes: int
    started_s: float
    wait: Callable[[], None]


class StreamCopier:
    """Queues copies that a device makes by itself, one after another; a thread waits for each of them in turn.

    `begin` queues a copy and returns a call that waits until its bytes are there.
    """

    def __init__(
        self, post: Callable[[Arrived], None], begin: Callable[[torch.Tensor, torch.Tensor], Callable[[], None]]
    ) -> None:
        self._post, self._begin = post, begin
        self._queue: SimpleQueue[_Queued | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._wait_for_all, name="coe-copy", daemon=True)
        self._thread.start()

    def copy(self, unit_hash: str, source: torch.Tensor, target: torch.Tensor) -> None:
        started_s = time.monotonic()
        try:
            wait = self._begin(source, target)
        except Exception as error:  # the edge to the driver: any failure is reported with the unit
            wait = partial(_raise, error)
        self._queue.put(_Queued(unit_hash, source.numel(), started_s, wait))

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _wait_for_all(self) -> None:
        while (queued := self._queue.get()) is not None:
            error = _error_of(queued.wait)
            ended_s = time.monotonic()
            arrived = Arrived(queued.unit_hash, queued.size_bytes, Tier.DEVICE, queued.started_s, ended_s, error)
            _report(self._post, arrived)


class _Countdown:
    """Counts the pieces of one unit that are still under way; the last one checks the unit and reports.

    It counts the ends of futures and not of calls: a piece that is never run, because its threads have died, ends too.
    """

    def __init__(
        self,
        unit_hash: str,
        size_bytes: int,
        tier: Tier,
        num_pieces: int,
        check: Callable[[], None],
        post: Callable[[Arrived], None],
    ) -> None:
        self._unit_hash, self._size_bytes, self._tier, self._left = unit_hash, size_bytes, tier, num_pieces
        self._check, self._post = check, post
        self._lock = threading.Lock()
        self._started_s = float("inf")
        self._error: BaseException | None = None

    def begin(self, threads: ThreadPoolExecutor, work: Callable[[], None]) -> None:
        """Do one piece on one of the threads."""
        threads.submit(self._run, work).add_done_callback(self._end)

    def _run(self, work: Callable[[], None]) -> None:
        started_s = time.monotonic()
        with self._lock:
            self._started_s = min(self._started_s, started_s)
        if self._error is None:  # the rest of a failed unit is not read
            work()

    def _end(self, piece: Future[None]) -> None:
        error = CancelledError() if piece.cancelled() else piece.exception()
        with self._lock:
            self._error = self._error or error
            self._left -= 1
            is_last = self._left == 0
        if is_last:
            error = self._error or _error_of(self._check)
            ended_s = time.monotonic()
            started_s = min(self._started_s, ended_s)
            _report(self._post, Arrived(self._unit_hash, self._size_bytes, self._tier, started_s, ended_s, error))


def _report(post: Callable[[Arrived], None], event: Arrived) -> None:
    """Say that a transfer has ended; once more if that fails, because nobody else ever would."""
    try:
        post(event)
    except BaseException:
        log.exception("report unit=%s", event.unit_hash)
        post(event)


def _error_of(work: Callable[[], None]) -> BaseException | None:
    try:
        work()
    except BaseException as error:  # thread edge: any failure is reported with the unit
        return error
    return None


def _raise(error: BaseException) -> None:
    raise error


def _one_math_thread() -> None:
    torch.set_num_threads(1)  # for this thread: a copy must not wait at a barrier for cores that the engine uses


def _view(frame: torch.Tensor) -> memoryview:
    array: Any = frame.numpy()
    return memoryview(array)
