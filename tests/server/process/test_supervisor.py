"""A server that dies is started again while its connections wait, and ends with its supervisor."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from compositions import write_config
from served_process import ServedProcess, served_process
from waits import until

from server.process.supervisor import LAST_PAUSE_S, STEADY_S, next_pause_s


@pytest.fixture
def config(tmp_path: Path, gpt2_folder: Path) -> Path:
    return write_config(tmp_path, {"general": gpt2_folder}, "[server]\ndrain_s = 1")


def child_of(served: ServedProcess) -> int:
    served.wait_for(r"server pid=\d+")
    return int(served.log.split("server pid=")[-1].split()[0])


def wait_until_gone(pid: int) -> None:
    with suppress(FileNotFoundError, ProcessLookupError):
        until(lambda: "(zombie)" in Path(f"/proc/{pid}/status").read_text(), f"process {pid} has ended")


def test_a_server_that_crashes_is_started_again_and_no_connection_is_refused(config: Path) -> None:
    with served_process(config, None, "--restart") as served:
        served.wait_ready()
        first = child_of(served)
        os.kill(first, signal.SIGSEGV)
        wait_until_gone(first)
        served.wait_ready()
        assert served.ask().status_code == 200
        second = child_of(served)
        assert second != first
        assert "the server died (SIGSEGV); starting it again in 1 s" in served.log
        served.signal(signal.SIGTERM)
        assert served.exit_code() == 0
        wait_until_gone(second)


def test_a_server_does_not_outlive_its_supervisor(config: Path) -> None:
    with served_process(config, None, "--restart") as served:
        served.wait_ready()
        served.signal(signal.SIGKILL)
        wait_until_gone(child_of(served))


def test_the_pause_grows_until_a_server_lives_for_long() -> None:
    pauses = [0.0]
    for _ in range(7):
        pauses.append(next_pause_s(pauses[-1], lived_s=5.0))
    assert pauses[1:] == [1.0, 2.0, 4.0, 8.0, 16.0, LAST_PAUSE_S, LAST_PAUSE_S]
    assert next_pause_s(LAST_PAUSE_S, lived_s=STEADY_S) == 0.0
