"""Reads files into memory, in pieces that threads can share.

A read takes the bytes that the page cache already has (RWF_NOWAIT) and fetches the rest with O_DIRECT, so that no
second copy fills the page cache. Covered: Linux; where a system or a file system lacks either, plain reads.
Knows nothing about units, tiers or threads.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from coe.weights.unit import ALIGNMENT

__all__ = ["PIECE_BYTES", "pieces_of", "read_buffered", "read_into"]

PIECE_BYTES = 8 << 20  # of one read: large enough for the disk, small enough to spread a unit over threads


def pieces_of(path: Path, target: memoryview) -> list[Callable[[], None]]:
    """Return calls that together fill `target` with the file's first bytes, in any order and on any threads."""
    return [
        partial(read_into, path, target[at : at + PIECE_BYTES], at) for at in range(0, max(1, len(target)), PIECE_BYTES)
    ]


def read_into(path: Path, target: memoryview, offset: int) -> None:
    """Fill `target` from `path` at `offset`, both page-aligned; raises OSError, and EOFError if the file ends first."""
    done = _read_cached(path, target, offset)
    if done < len(target):
        done = done // ALIGNMENT * ALIGNMENT
        _read_fully(_open_direct(path), path, target[done:], offset + done)


def read_buffered(path: Path, target: memoryview, offset: int) -> None:
    """Fill `target` from `path` at any offset, through the page cache; raises as `read_into` does."""
    _read_fully(_open(path), path, target, offset)


def _read_cached(path: Path, target: memoryview, offset: int) -> int:
    """Fill the start of `target` from the page cache, without waiting for the disk; returns the bytes filled."""
    flags = getattr(os, "RWF_NOWAIT", None)
    if flags is None or not hasattr(os, "preadv"):
        return 0
    fd, done = _open(path), 0
    try:
        while done < len(target):
            count = os.preadv(fd, [target[done:]], offset + done, flags)
            if count == 0:
                break
            done += count
        return done
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
            return done
        raise
    finally:
        os.close(fd)


def _read_fully(fd: int, path: Path, target: memoryview, offset: int) -> None:
    """Read until `target` is full; closes `fd`."""
    with open(fd, "rb", buffering=0) as file:
        file.seek(offset)
        done = 0
        while done < len(target):
            count = file.readinto(target[done:])
            done += count
            size_bytes = os.fstat(fd).st_size
            if done < len(target) and (not count or offset + done >= size_bytes):  # it may end before this piece begins
                raise EOFError(f"{path} ends at byte {size_bytes}, {offset + len(target) - size_bytes} bytes short")


def _open_direct(path: Path) -> int:
    try:
        return _open(path, getattr(os, "O_DIRECT", 0))
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # tmpfs and some network file systems refuse O_DIRECT
            raise
        return _open(path)


def _open(path: Path, flags: int = 0) -> int:
    return os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | flags)
