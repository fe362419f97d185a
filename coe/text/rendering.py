"""Chat templates rendered in processes of their own, which are killed when a template overruns.

Owns the processes: two are kept warm, so that a killed one is replaced without a wait. One that ended for another
reason than its job's limits may have been killed from outside, so its job is tried once more in a new one. A template
is code of whoever published the expert. What it may use is bounded in template_worker.py: processor time, memory,
length of the text. A quick try is so short that it holds up nobody; a template that overran it is rendered with
patience from then on, by a caller who can wait. Knows nothing about tokenizers or experts. Any thread may call it.
"""

from __future__ import annotations

import atexit
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from coe.text.template_worker import receive, send

__all__ = ["OverrunError", "RefusedError", "Renderer", "TooLongError", "renderer"]

WORKER = Path(__file__).with_name("template_worker.py")
QUICK_CPU_S = 0.1  # a hundred times what a long conversation takes
PATIENT_CPU_S = 2.0
WALL_S = 20.0  # for a process that gets no processor; starting one is in it
NUM_WARM = 2
END_S = 1.0  # for a process to end by itself once its socket is closed
BANNED_S = 60.0


class RefusedError(Exception):
    """The template raised for this conversation; the message is what it said."""


class TooLongError(Exception):
    """The rendered text has `num_chars`, more than was allowed."""

    def __init__(self, num_chars: int) -> None:
        super().__init__(f"{num_chars} characters")
        self.num_chars = num_chars


class OverrunError(Exception):
    """The template used more time or memory than it may, or ended its process; the message says which."""


class _EndedError(OverrunError):
    """The process ended by something else than the limits of its job, perhaps before it had the job."""


class _Job(NamedTuple):
    template: str
    messages: Sequence[Mapping[str, Any]]
    variables: Mapping[str, Any]
    max_chars: int
    cpu_limit_s: float


class _Ban(NamedTuple):
    """A template is not tried on `size` or more before `until_s` (monotonic), because it overran there."""

    size: int
    until_s: float
    reason: str


class Renderer:
    """Renders templates in warm processes. `close` ends them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_closed = False
        self._idle = [_Process() for _ in range(NUM_WARM)]  # the last one is the warmest
        self._slow: set[str] = set()  # templates that overran a quick try
        self._bans: dict[str, _Ban] = {}

    def render(
        self,
        template: str,
        messages: Sequence[Mapping[str, Any]],
        variables: Mapping[str, Any],
        *,
        max_chars: int,
        is_quick: bool = False,
    ) -> str:
        """Return the text of a conversation up to where the assistant's turn begins, unless `variables` say otherwise.

        Raises RefusedError, TooLongError and OverrunError. A quick try overruns after a tenth of a second of processor
        time, and at once for a template that has overrun one before.
        """
        if is_quick and template in self._slow:
            raise OverrunError("its chat template is slow")
        size = sum(len(str(value)) + 1 for message in messages for value in message.values())
        self._check_ban(template, size)
        job = _Job(template, messages, variables, max_chars, QUICK_CPU_S if is_quick else PATIENT_CPU_S)
        try:
            outcome, text = self._ask(job)
        except OverrunError as error:
            if is_quick:
                self._slow.add(template)
            else:
                self._bans[template] = _Ban(size, time.monotonic() + BANNED_S, str(error))
            raise
        if outcome == "refused":
            raise RefusedError(text)
        if outcome == "too long":
            raise TooLongError(int(text))
        return text

    def close(self) -> None:
        """End the idle processes, and each other one after its job."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for process in idle:
            process.kill()

    def _check_ban(self, template: str, size: int) -> None:
        """Each try of a hostile template costs seconds of a processor; a long conversation bans only as long ones."""
        ban = self._bans.get(template)
        if ban is not None and size >= ban.size and time.monotonic() < ban.until_s:
            raise OverrunError(ban.reason)

    def _ask(self, job: _Job) -> tuple[str, str]:
        with self._lock:
            process = self._idle.pop() if self._idle else _Process()
        try:
            try:
                outcome, text = process.ask(job)
            except _EndedError:  # killed while it was idle, say: that is no fault of this template
                process.kill()
                process = _Process()
                outcome, text = process.ask(job)
            if outcome == "out of memory":
                raise OverrunError("its chat template asks for more memory than it may use")
        except BaseException:
            process.kill()
            self._keep(_Process(), is_warm=False)
            raise
        self._keep(process, is_warm=True)
        return outcome, text

    def _keep(self, process: _Process, *, is_warm: bool) -> None:
        with self._lock:
            is_wanted = not self._is_closed and len(self._idle) < NUM_WARM
            if is_wanted:
                self._idle.insert(len(self._idle) if is_warm else 0, process)
        if not is_wanted:
            process.kill()


class _Process:
    """One worker process. Whoever holds it is the only one to use it."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(WALL_S)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(WORKER)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # an interrupt at the terminal is for the server alone, which may drain
            )

    def ask(self, job: _Job) -> tuple[str, str]:
        """Return outcome and text; raises OverrunError if the process ends before it answers, or does not."""
        answer = None
        try:
            send(self._socket, job._asdict())
            answer = receive(self._socket)
        except TimeoutError:
            raise OverrunError(f"its chat template gave no text within {WALL_S:g} s") from None
        except OSError:  # the process has ended
            pass
        if answer is None:
            raise self._end(job)
        outcome, text = answer
        return outcome, text

    def kill(self) -> None:
        self._socket.close()
        with suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()

    def _end(self, job: _Job) -> OverrunError:
        """Return why there is no answer; a process that is still there, because the socket failed, is ended."""
        self._socket.close()
        try:
            code = self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        if code == -signal.SIGPROF:
            return OverrunError(f"its chat template needs more than {job.cpu_limit_s:g} s of processor time")
        return _EndedError(f"its chat template ended the process that renders it (exit code {code})")


@cache
def renderer() -> Renderer:
    """Return the process's own renderer; the first call starts it, the end of the process ends it."""
    one = Renderer()
    atexit.register(one.close)
    return one
