"""Waiting for what another thread or process brings about: asked again and again, with a pause and an end."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["until"]

LIMIT_S = 60.0  # a hang, and no duration that a test asserts
PAUSE_S = 0.01  # in which the one that is waited for has the processor


def until(is_so: Callable[[], object], what: str) -> None:
    """Return when it is so; raises AssertionError, which says what was waited for, if that does not come."""
    gives_up_s = time.monotonic() + LIMIT_S
    while not is_so():
        assert time.monotonic() < gives_up_s, f"waited {LIMIT_S:g} s in vain until {what}"
        time.sleep(PAUSE_S)
