"""Where a runtime is in its life, and how many requests it has accepted and not yet ended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from coe.errors import ShutdownError

__all__ = ["Lifecycle"]

State = Literal["starting", "loading", "ready", "draining", "closed"]


class Lifecycle:
    """One event loop's. `loading` names the expert that the start waits for."""

    def __init__(self) -> None:
        self.state: State = "starting"
        self.loading: str | None = None
        self.num_running = 0
        self._idle = asyncio.Event()

    @property
    def is_ready(self) -> bool:
        return self.state == "ready"

    def begin_loading(self, expert: str) -> None:
        self.state, self.loading = "loading", expert

    def become(self, state: State) -> None:
        self.state, self.loading = state, None

    @contextmanager
    def accepted(self) -> Iterator[None]:
        """Count a request until it ends; raises ShutdownError once no more are taken."""
        if self.state in ("draining", "closed"):
            raise ShutdownError("the server is shutting down and takes no more requests; try again in a moment")
        self.num_running += 1
        try:
            yield
        finally:
            self.num_running -= 1
            if not self.num_running:
                self._idle.set()

    async def drained(self, timeout_s: float) -> bool:
        """Wait until the requests that run now have ended; returns False where the time is over before."""
        if not self.num_running:
            return True
        self._idle.clear()
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            return False
        return True
