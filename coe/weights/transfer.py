"""Moves bytes on threads of its own and reports back with events: disk -> host, host -> device.

Knows which bytes go where and nothing else: no budgets, no leases, no decisions. A read takes what the page cache
already holds (RWF_NOWAIT) and fetches the rest directly (O_DIRECT), so that no second copy fills the page
cache. Covered: Linux. Where preadv2 flags or O_DIRECT are missing, plain buffered reads.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch

from coe.types import Tier
from coe.weights.unit import ALIGNMENT

__all__ = ["Arrived", "Copier", "DiskReader", "read_into"]

PIECE_BYTES = 8 << 20  # one read call: large enough for the disk, small enough to spread a unit over threads


@dataclass(frozen=True, slots=True)
class Arrived:
    """A transfer ended. `error` is None when all bytes are there; `started_s`/`ended_s` are monotonic seconds."""

    unit_hash: str
    tier: Tier  # where the bytes were going
    started_s: float
    ended_s: float
    error: Exception | None = None


class Copier(Protocol):
    """Copies a host frame into a device frame and returns when the bytes are there."""

    def __call__(self, source: torch.Tensor, target: torch.Tensor) -> None: ...


class _Countdown:
    """The pieces of one unit that are still under way; the last one reports."""

    def __init__(self, unit_hash: str, num_pieces: int, post: Callable[[Arrived], None]) -> None:
        self._unit_hash, self._left, self._post = unit_hash, num_pieces, post
        self._lock = threading.Lock()
        self._started_s = float("inf")
        self._error: Exception | None = None

    def run(self, work: Callable[[], None]) -> None:
        started_s = time.monotonic()
        error: Exception | None = None
        try:
            work()
        except Exception as caught:  # thread edge: whatever went wrong is reported with the unit
            error = caught
        with self._lock:
            self._started_s = min(self._started_s, started_s)
            self._error = self._error or error
            self._left -= 1
            is_last = self._left == 0
        if is_last:
            self._post(Arrived(self._unit_hash, Tier.HOST, self._started_s, time.monotonic(), self._error))


class DiskReader:
    """Reads unit files into host frames with a few threads, a unit's pieces in parallel."""

    def __init__(self, post: Callable[[Arrived], None], *, num_threads: int = 2) -> None:
        self._post = post
        self._threads = ThreadPoolExecutor(num_threads, thread_name_prefix="coe-read")

    def read(self, unit_hash: str, path: Path, frame: torch.Tensor) -> None:
        """Start reading all of `frame.numel()` bytes; an `Arrived` is posted when the last one is there."""
        target = _view(frame)
        pieces = [(at, min(PIECE_BYTES, len(target) - at)) for at in range(0, len(target), PIECE_BYTES)]
        countdown = _Countdown(unit_hash, len(pieces), self._post)
        for offset, length in pieces:
            piece = target[offset : offset + length]
            self._threads.submit(countdown.run, partial(read_into, path, piece, offset))

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)


def read_into(path: Path, target: memoryview, offset: int) -> None:
    """Fill `target` from `path` at `offset` (page-aligned, like the target); raises OSError, EOFError if short."""
    done = _read_cached(path, target, offset)
    if done < len(target):
        done = done // ALIGNMENT * ALIGNMENT
        _read_fully(path, target[done:], offset + done)


def _view(frame: torch.Tensor) -> memoryview:
    array: Any = frame.numpy()
    return memoryview(array)


def _read_cached(path: Path, target: memoryview, offset: int) -> int:
    """Take leading bytes that are already in the page cache; never waits for the disk."""
    flags = getattr(os, "RWF_NOWAIT", None)
    if flags is None:
        return 0
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        done = 0
        while done < len(target):
            count = os.preadv(fd, [target[done:]], offset + done, flags)
            if count == 0:
                break
            done += count
        return done
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EOPNOTSUPP, errno.ENOSYS):
            return done
        raise
    finally:
        os.close(fd)


def _read_fully(path: Path, target: memoryview, offset: int) -> None:
    fd = _open_direct(path)
    try:
        done = 0
        while done < len(target):
            count = os.preadv(fd, [target[done:]], offset + done)
            if count == 0:
                raise EOFError(f"{path} ends at byte {offset + done}, {len(target) - done} bytes short")
            done += count
    finally:
        os.close(fd)


def _open_direct(path: Path) -> int:
    flags = os.O_RDONLY | os.O_CLOEXEC
    try:
        return os.open(path, flags | getattr(os, "O_DIRECT", 0))
    except OSError as error:
        if error.errno != errno.EINVAL:  # tmpfs and some network file systems refuse O_DIRECT
            raise
        return os.open(path, flags)


class DeviceCopier:
    """Copies host frames to device frames one after another on a thread of its own."""

    def __init__(self, post: Callable[[Arrived], None], copy: Copier) -> None:
        self._post, self._copy = post, copy
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="coe-copy")

    def copy(self, unit_hash: str, source: torch.Tensor, target: torch.Tensor) -> None:
        """Start a copy; an `Arrived` is posted when the bytes are there."""
        self._threads.submit(self._run, unit_hash, source, target)

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _run(self, unit_hash: str, source: torch.Tensor, target: torch.Tensor) -> None:
        started_s = time.monotonic()
        error: Exception | None = None
        try:
            self._copy(source, target)
        except Exception as caught:  # thread edge: reported with the unit
            error = caught
        self._post(Arrived(unit_hash, Tier.DEVICE, started_s, time.monotonic(), error))
