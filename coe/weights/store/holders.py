"""Who needs which files of a store: one file for each process that imports into it or serves from it, kept locked.

Owns the folder holders/ of a store and the store's lock. A process names what it needs before it reads it, and its lock
ends with it, however that is: a file that nobody locks is a dead process's. Files are made and judged with the store
locked. Covered: processes of one machine, or of a file system whose flock(2) reaches others. Not covered: a process
that cannot write there (a full disk, a read-only store); that is said once in the log, and it is not spared. A child
that was forked and not executed holds for its parent. Knows nothing about units.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import secrets
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Holder", "needed_by_the_living", "store_lock"]

log = logging.getLogger("coe.weights.store.holders")


class Holder:
    """A process's entry in `folder`, made with the first name. It goes with `close`, this object or the process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path: Path | None = None
        self._named: set[str] = set()
        self._fd: int | None = None
        self._is_warned = False
        self._entry: weakref.finalize[..., Holder] | None = None

    def add(self, names: Iterable[str]) -> None:
        """Say that these files are needed; call it with the store locked and before they are looked at."""
        new = sorted(set(names) - self._named)
        if not new:
            return
        try:
            if self._fd is None:
                self._fd = self._make()
            text = "\n".join(["", *new, ""]).encode()  # begins a line, whatever an earlier write has left
            if os.write(self._fd, text) < len(text):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._named.update(new)
        except OSError as error:
            self._warn(error)

    def close(self) -> None:
        """Need nothing any more."""
        if self._entry is not None:
            self._entry()
        self.path = self._fd = self._entry = None
        self._named.clear()

    def _make(self) -> int:
        self._folder.mkdir(exist_ok=True)
        path = self._folder / f"{os.getpid()}-{secrets.token_hex(8)}"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # a file system without locks
            _leave(fd, path, os.getpid())
            raise
        self.path, self._entry = path, weakref.finalize(self, _leave, fd, path, os.getpid())
        return fd

    def _warn(self, error: OSError) -> None:
        if not self._is_warned:
            self._is_warned = True
            log.warning("not registered in %s (%s): `coe experts gc` does not spare this process", self._folder, error)


@contextmanager
def store_lock(path: Path, *, exclusive: bool = False) -> Iterator[None]:
    """Hold a store's lock: shared to name what is needed, exclusive to remove what nobody needs.

    Only the latter insists on it: where no lock can be had (a file system without any, a full disk), others go on.
    Raises OSError.
    """
    fd = _lock(path, exclusive)
    try:
        yield
    finally:
        if fd is not None:
            os.close(fd)


def _lock(path: Path, exclusive: bool) -> int | None:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        except BaseException:
            os.close(fd)
            raise
    except OSError:
        if exclusive:
            raise
        return None
    return fd


def needed_by_the_living(folder: Path, apart_from: Path | None = None) -> set[str]:
    """Return every file that a living process needs, and remove entries of dead ones; call it with the store locked.

    `apart_from` is an entry that does not count.
    """
    held: set[str] = set()
    for path in folder.iterdir() if folder.is_dir() else ():
        if path == apart_from:
            continue
        try:
            fd = os.open(path, os.O_RDONLY)
        except FileNotFoundError:  # its process has just ended
            continue
        try:
            if _is_locked(fd):
                held |= set(path.read_text(encoding="utf-8").split("\n"))
            else:
                path.unlink(missing_ok=True)
        finally:
            os.close(fd)
    return held


def _is_locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # another holds it, or this file system cannot tell
        return True
    return False


def _leave(fd: int, path: Path, process: int) -> None:
    if os.getpid() == process:  # a forked child leaves its parent's entry alone
        path.unlink(missing_ok=True)
    os.close(fd)
