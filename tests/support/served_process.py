"""`coe serve` in processes of their own, for tests of signals, exit codes and faults that end a process.

They are forked from one that has imported everything, so that each costs a second and not the ten of the imports.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import httpx
from waits import until

__all__ = ["ServedProcess", "served_process"]

PROMPT = [{"role": "user", "content": "What is the capital of France?"}]
FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(
    ["router", "server.app", "transformers", "transformers.models.gpt2.modeling_gpt2", "coe.assembly.wire"]
)


class ServedProcess:
    """A process that runs `coe serve`. `log` is what it has written so far."""

    def __init__(self, process: BaseProcess, log_file: Path) -> None:
        self.process, self._log_file = process, log_file

    @property
    def log(self) -> str:
        return self._log_file.read_text()

    @property
    def url(self) -> str:
        """Where it listens, as soon as it says so."""
        return self.wait_for(r"on (http://[\d.:]+)")

    def wait_for(self, pattern: str) -> str:
        """Wait until the log has the pattern; returns its first group, or all of it."""
        until(lambda: re.search(pattern, self.log) or not self.process.is_alive(), f"its log has {pattern}")
        found = re.search(pattern, self.log)
        assert found, self.log
        return found[found.re.groups and 1]

    def wait_ready(self) -> None:
        until(lambda: self.get("/ready").status_code == 200, "it is ready")

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=60)

    def ask(self, **fields: object) -> httpx.Response:
        """Ask for an answer of a few tokens, on a connection of its own."""
        return httpx.post(f"{self.url}/v1/chat/completions", json=request(**fields), timeout=60)

    def stream(self, begun: threading.Event, **fields: object) -> list[str]:
        """The lines of a streamed answer; `begun` is set when the first has come."""
        body = request(stream=True, **fields)
        lines = []
        with httpx.stream("POST", f"{self.url}/v1/chat/completions", json=body, timeout=60) as response:
            for line in response.iter_lines():
                begun.set()
                lines.append(line)
        return [line for line in lines if line]

    def signal(self, signum: signal.Signals) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, signum)

    def exit_code(self) -> int | None:
        """Wait for its end; negative for a signal's number."""
        self.process.join(60)
        return self.process.exitcode


def request(**fields: object) -> dict[str, object]:
    return {"messages": PROMPT, "max_tokens": 4, "temperature": 0, **fields}


@contextmanager
def served_process(config: Path, prepare: Callable[..., Any] | None = None, *words: str) -> Iterator[ServedProcess]:
    """Serve a configuration on a free port until the block ends; `prepare` runs in the process before."""
    log_file = config.with_suffix(".log")
    log_file.write_text("")
    process = FORK.Process(target=_main, args=(str(config), str(log_file), prepare, words))
    process.start()
    try:
        yield ServedProcess(process, log_file)
    finally:
        if process.is_alive():
            process.kill()
        process.join()


def _main(config: str, log_file: str, prepare: Callable[..., Any] | None, words: tuple[str, ...]) -> None:
    from coe.cli import main

    handle = os.open(log_file, os.O_WRONLY | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    if prepare is not None:
        prepare()
    sys.exit(main(["serve", "-c", config, "--port", "0", *words]))
