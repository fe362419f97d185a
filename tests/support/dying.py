"""Ways in which a process kills itself at a chosen moment: run in it before it serves (served_process.py)."""

from __future__ import annotations

import os
import signal
import sys

__all__ = ["die_at_touch"]

TOUCHES = ("open", "os.mkdir", "os.rename", "os.utime")  # audit events


def die_at_touch(folder: str, count: int) -> None:
    """Have this process send itself SIGKILL when it is about to touch a file in `folder` for the `count`th time."""
    touches = iter(range(1, count))

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event in TOUCHES and str(arguments[0]).startswith(folder) and next(touches, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
