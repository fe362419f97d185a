"""Where a runtime is in its life, how many requests it has accepted and not yet ended, and what ends them all.

Every accepted request is answered: by what it waits for or, when the runtime ends first, with the reason of its end.
That does not depend on the engine's thread or on the text worker, which may have died or hang.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

from coe.errors import CoeError, EngineError, ShutdownError

__all__ = ["Lifecycle"]

State = Literal["starting", "loading", "ready", "draining", "failed", "closed"]
T = TypeVar("T")


class Lifecycle:
    """One event loop's. `loading` names the expert that the start waits for; `failed` is set when the engine failed.

    `hear_end` is called with what ends the runtime.
    """

    def __init__(self, hear_end: Callable[[CoeError], object] | None = None) -> None:
        self.state: State = "starting"
        self.loading: str | None = None
        self.num_running = 0
        self.failed = asyncio.Event()
        self._end: CoeError | None = None
        self._on_end: set[Callable[[CoeError], object]] = set() if hear_end is None else {hear_end}
        self._idle = asyncio.Event()

    @property
    def is_ready(self) -> bool:
        return self.state == "ready"

    @property
    def failure(self) -> EngineError | None:
        """What has ended the runtime, if nobody asked it to end."""
        return self._end if isinstance(self._end, EngineError) else None

    def begin_loading(self, expert: str) -> None:
        if self.state in ("starting", "loading"):
            self.state, self.loading = "loading", expert

    def started(self) -> None:
        if self.state in ("starting", "loading"):
            self.state, self.loading = "ready", None

    def stop_accepting(self) -> None:
        if self._end is None:
            self.state, self.loading = "draining", None

    def end(self, error: CoeError) -> None:
        """Answer all that runs, and all that still comes, with this error; the first one counts."""
        if self._end is not None:
            return
        self._end = error
        self.state, self.loading = "closed", None
        if isinstance(error, EngineError):
            self.state = "failed"
            self.failed.set()
        for hear in list(self._on_end):
            hear(_own(error))

    @contextmanager
    def accepted(self) -> Iterator[None]:
        """Count a request until it ends; raises ShutdownError once no more are taken, EngineError after a failure."""
        if self._end is not None:
            raise _own(self._end)
        if self.state == "draining":
            raise ShutdownError("the server is shutting down and takes no more requests; try again in a moment")
        self.num_running += 1
        try:
            yield
        finally:
            self.num_running -= 1
            if not self.num_running:
                self._idle.set()

    @contextmanager
    def heard(self, hear: Callable[[CoeError], object]) -> Iterator[None]:
        """Call `hear` with the reason if the runtime ends before the block does, at once if it has ended."""
        self._on_end.add(hear)
        try:
            if self._end is not None:
                hear(_own(self._end))
            yield
        finally:
            self._on_end.remove(hear)

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what `work` returns; raises the reason if the runtime ends first."""
        task = asyncio.create_task(work)
        with self.heard(lambda _: task.cancel()):
            try:
                return await task
            except asyncio.CancelledError:
                caller = asyncio.current_task()
                if self._end is None or (caller is not None and caller.cancelling()):
                    raise
                raise _own(self._end) from None

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


def _own(error: CoeError) -> CoeError:
    """Return an instance for one request: raising one for all would gather every request's traceback in it."""
    return type(error)(*error.args)
