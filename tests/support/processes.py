"""`coe` in processes of its own, as people run it, and processes that die at a chosen moment.

Run as a program it is a `coe` that kills itself: `python processes.py FOLDER COUNT word ...` runs `coe word ...` and
sends itself SIGKILL when it is about to touch a file in FOLDER (open, rename, change times, make a folder) for the
COUNTth time.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

__all__ = ["Served", "killed_at", "serving"]


class Served:
    """A server in a process of its own; `log` has the lines that it has written so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process, self.log = process, list[str]()
        self._url: str | None = None
        self._is_known = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def url(self) -> str:
        """Its address, when it has said it; raises AssertionError if it ends before."""
        assert self._is_known.wait(120), self.log
        assert self._url is not None, "".join(self.log)
        return self._url

    def wait_ready(self) -> None:
        with httpx.Client(base_url=self.url, timeout=60) as client:
            while client.get("/ready").status_code != 200:
                assert self.process.poll() is None, "".join(self.log)

    def end(self, number: signal.Signals) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(120)
        self._reader.join()
        return code

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if self._url is None and (found := re.search(r"http://[\d.:]+", line)):
                self._url = found[0]
                self._is_known.set()
        self._is_known.set()


@contextmanager
def serving(config: Path) -> Iterator[Served]:
    """Serve a configuration on a free port; whatever still runs at the end is killed."""
    words = [sys.executable, "-m", "coe", "serve", "-c", str(config), "--port", "0"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        served = Served(process)
        try:
            served.wait_ready()
            yield served
        finally:
            if process.poll() is None:
                served.end(signal.SIGKILL)


def killed_at(folder: Path, count: int, *words: str) -> bool:
    """Run a `coe` that dies at the `count`th touch of `folder`; returns whether it came to that."""
    program = [sys.executable, __file__, str(folder), str(count), *words]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode == -signal.SIGKILL


def main(folder: str, count: str, words: Sequence[str]) -> int:
    from coe.cli import main as coe_main

    touches = iter(range(1, int(count)))

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        is_touch = event in ("open", "os.mkdir", "os.rename", "os.utime") and str(arguments[0]).startswith(folder)
        if is_touch and next(touches, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    return coe_main(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
