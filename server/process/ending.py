"""Who ends the process, and that it ends: signals, and a last resort for what hangs.

The first SIGTERM or SIGINT asks for the end, as an operator may over HTTP; a second one ends the process at once, as
does the first before anything is served. SIGHUP is logged. Knows nothing about servers and runtimes.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import signal
from types import FrameType

__all__ = ["CLOSE_S", "FAILED", "GRACE_S", "LINGER_S", "Ending", "end_hard_in"]

log = logging.getLogger("coe.server")

FAILED = 1  # exit code of a process whose runtime has failed, or that hung
LINGER_S = 2.0  # for which a process whose runtime has failed tells everybody so
GRACE_S = 2  # for the last answers to go out when nothing runs any more
CLOSE_S = 3.0  # for a step under way to end
SLACK_S = 5.0  # beyond all of these, before the last resort
STDERR = 2


class Ending:
    """Whether somebody asked the process to end. Catches signals from its construction on, in the main thread.

    Until `asked` is awaited nobody is served, and a signal ends the process at once. After it there are `drain_s` for
    what runs.
    """

    def __init__(self, drain_s: float) -> None:
        self.drain_s = drain_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked = asyncio.Event()
        self._is_asked = self._is_signalled = False
        faulthandler.enable(STDERR)  # a crash in a kernel leaves the traces of all threads
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._on_end)
        signal.signal(signal.SIGHUP, self._on_hang_up)

    async def asked(self) -> None:
        """Return when the process is to end."""
        self._loop = asyncio.get_running_loop()
        await self._asked.wait()

    def ask(self) -> None:
        """Ask for the end, once anybody is served. A signal that follows asks for it too, and does not end at once."""
        assert self._loop is not None
        if not self._is_asked:
            self._is_asked = True
            end_hard_in(self.drain_s + GRACE_S + CLOSE_S)
            self._loop.call_soon_threadsafe(self._asked.set)

    def _on_end(self, signum: int, _: FrameType | None) -> None:
        if self._loop is None or self._is_signalled:
            _die(signum)
        else:
            self._is_signalled = True
            self.ask()

    def _on_hang_up(self, _: int, __: FrameType | None) -> None:
        log.warning("SIGHUP is ignored: the configuration is read at the start; restart to reload it")


def end_hard_in(seconds: float) -> None:
    """End the process with FAILED and the traces of all threads if it lives for so long, and a little longer.

    Needs no event loop and no lock of Python's: whatever hangs, hangs no longer than this.
    """
    faulthandler.dump_traceback_later(seconds + SLACK_S, exit=True, file=STDERR)


def _die(signum: int) -> None:
    """End the process now, as the signal does."""
    signal.signal(signum, signal.SIG_DFL)
    signal.raise_signal(signum)
    os._exit(128 + signum)  # the first process of a container is not ended by what signals do by default
