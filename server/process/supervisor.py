"""`coe serve --restart`: a parent that starts a server again which has died, by a crash in a kernel or a failed engine.

The parent holds the listening socket and never accepts: while a new server starts on the filled store, connections wait
in the kernel's queue. Requests that the dead server had accepted are lost with it. Where systemd or Docker restart
processes this is not needed. Knows nothing about servers: it forks, and the child goes on as if it were alone.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import time

__all__ = ["next_pause_s", "supervise"]

log = logging.getLogger("coe.server")

ASKING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # passed on to the child
SIGNALS = {*ASKING, signal.SIGCHLD, signal.SIGALRM}
FINAL = (0, 2)  # exit codes of a server that was told to end, and of one that another start would not help
LAST_PAUSE_S = 30.0
STEADY_S = 60.0  # a server that has lived for so long is started again at once
PR_SET_PDEATHSIG = 1  # prctl(2)


def supervise() -> int | None:
    """Return None in each child, which is to serve; in the parent the exit code, when no child is to follow.

    Call it while the process has one thread and handles no signals.
    """
    signal.signal(signal.SIGCHLD, lambda *_: None)  # what is ignored by default cannot be waited for everywhere
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    parent, pause_s = os.getpid(), 0.0
    while True:
        started_s = time.monotonic()
        child = os.fork()
        if not child:
            _begin_child(parent)
            return None
        log.info("server pid=%d", child)
        code, is_asked = _wait(child)
        if is_asked or code in FINAL:
            return code if code >= 0 else 128 - code
        pause_s = next_pause_s(pause_s, time.monotonic() - started_s)
        log.error("the server died (%s); starting it again in %g s", _cause(code), pause_s)
        if _is_asked_within(pause_s):
            return 0


def next_pause_s(last_s: float, lived_s: float) -> float:
    """Return how long to wait before the next start: not at all after a long life, else twice as long as last time."""
    return 0.0 if lived_s >= STEADY_S else min(LAST_PAUSE_S, max(1.0, 2 * last_s))


def _wait(child: int) -> tuple[int, bool]:
    """Pass signals on until the child has ended; returns its exit code and whether it had been asked to end."""
    is_asked = False
    while True:
        caught = signal.sigwait(SIGNALS)
        if caught in ASKING:
            is_asked = is_asked or caught != signal.SIGHUP
            os.kill(child, caught)
        elif (ended := os.waitpid(child, os.WNOHANG))[0]:
            return os.waitstatus_to_exitcode(ended[1]), is_asked


def _is_asked_within(seconds: float) -> bool:
    """Wait; returns True as soon as the end is asked for."""
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))
    while (caught := signal.sigwait(SIGNALS)) != signal.SIGALRM:
        if caught in (signal.SIGTERM, signal.SIGINT):
            return True
    return False


def _begin_child(parent: int) -> None:
    """Take signals again, those of the terminal only from the parent, and end with it."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit("the supervisor has ended")


def _cause(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
