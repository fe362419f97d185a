"""A lock on a folder of versions, so that two commands that change its state go one after the other.

Owns the wait. It is flock(2) on the folder itself, which leaves no file behind and ends with the process. Covered:
processes and threads of one machine. Not covered: file systems that cannot lock a folder, which are refused by name.
Knows nothing about versions.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from router.model.versions import VersionsError

__all__ = ["locked"]

WAIT_S = 10.0  # a change takes milliseconds
RETRY_S = 0.02


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other commands from changing a folder meanwhile.

    Raises:
        VersionsError: another command holds it for too long, or it cannot be locked.
        FileNotFoundError: there is no such folder.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        wait_for(descriptor, folder)
        yield
    finally:
        os.close(descriptor)  # lets go of the lock, too


def wait_for(descriptor: int, folder: Path) -> None:
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise VersionsError(
                    f"{folder}: another command has been changing its versions for {WAIT_S:g} s; let it end, or stop "
                    "it, and run this one again"
                ) from error
            time.sleep(RETRY_S)
        except OSError as error:
            raise VersionsError(
                f"{folder}: its file system cannot lock it ({error}); move the folder to a local one"
            ) from error
        else:
            return
