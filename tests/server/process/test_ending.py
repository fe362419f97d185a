"""How the process ends: told by signals, or because its engine has failed; and that it does end."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from compositions import write_config
from served_process import served_process
from waits import until

from coe.engine.step_runner import StepRunner
from coe.scheduling.scheduler import Scheduler
from coe.weights.store.unit_store import UnitStore


@pytest.fixture
def config(tmp_path: Path, gpt2_folder: Path) -> Path:
    return write_config(tmp_path, {"general": gpt2_folder}, "[server]\ndrain_s = 0.5")


@pytest.fixture
def other_thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as threads:
        yield threads


# -- what is done to a process before it serves


def slow_steps() -> None:
    """A request outlives the drain."""
    real = StepRunner.go_on

    def slow(*arguments: object) -> bool:
        time.sleep(0.05)
        return real(*arguments)  # type: ignore[arg-type]

    StepRunner.go_on = slow  # type: ignore[method-assign,assignment]


def hanging_steps() -> None:
    def hang(*_: object) -> bool:
        print("a step hangs", flush=True)
        return threading.Event().wait()

    StepRunner.go_on = hang  # type: ignore[method-assign,assignment]


def hanging_reads() -> None:
    UnitStore.reads = lambda *_: [threading.Event().wait]  # type: ignore[method-assign,assignment,return-value]


def engine_that_dies_when_told() -> None:
    def fail(*_: object) -> None:
        raise SystemExit("a bug of ours")

    signal.signal(signal.SIGUSR1, lambda *_: setattr(Scheduler, "decide", fail))


# -- told to end


def test_what_still_streams_when_the_drain_is_over_ends_with_an_error_event_and_done(
    config: Path, other_thread: ThreadPoolExecutor
) -> None:
    """The connection broke, and before it uvicorn's patience and the runtime's drain came one after the other."""
    config.write_text(config.read_text().replace("drain_s = 0.5", "drain_s = 3"))  # in which a new request is refused
    begun = threading.Event()
    with served_process(config, slow_steps) as served, httpx.Client(base_url=served.url) as idle:
        served.wait_ready()
        idle.get("/health")  # a connection that is kept alive does not hold the end up
        served.signal(signal.SIGHUP)
        streaming = other_thread.submit(served.stream, begun, max_tokens=400, ignore_eos=True)
        assert begun.wait(60)
        served.signal(signal.SIGTERM)
        served.wait_for("ending:")
        refused = served.ask()
        assert refused.status_code == 503
        assert refused.headers["retry-after"]
        event, data, done = streaming.result()[-3:]
        assert (event, done) == ("event: error", "data: [DONE]")
        assert json.loads(data.removeprefix("data: "))["error"]["code"] == "shutting_down"
        assert served.exit_code() == 0
        assert "SIGHUP is ignored" in served.log


def test_a_step_that_hangs_does_not_hold_the_end_up(config: Path, other_thread: ThreadPoolExecutor) -> None:
    with served_process(config, hanging_steps) as served:
        served.wait_ready()
        asking = other_thread.submit(served.ask)
        served.wait_for("a step hangs")
        served.signal(signal.SIGTERM)
        assert asking.result().status_code == 503
        assert served.exit_code() == 1
        assert "does not end" in served.log


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(config: Path, other_thread: ThreadPoolExecutor, signum: signal.Signals) -> None:
    config.write_text(config.read_text().replace("drain_s = 0.5", "drain_s = 600"))
    with served_process(config, hanging_steps) as served:
        served.wait_ready()
        asking = other_thread.submit(served.ask)
        served.wait_for("a step hangs")
        served.signal(signal.SIGTERM)
        served.wait_for("ending:")
        served.signal(signum)
        assert served.exit_code() == -signum
        assert isinstance(asking.exception(), httpx.TransportError)


def test_the_end_does_not_wait_for_weights_that_the_start_waits_for(config: Path) -> None:
    text = config.read_text()
    source = next(line for line in text.splitlines() if line.startswith("general = "))
    config.write_text(text.replace(source, f"general = {{ {source.replace('general', 'source')}, pin = true }}", 1))
    with served_process(config, hanging_reads) as served:
        until(lambda: "loading general" in served.get("/ready").text, "it loads")
        served.signal(signal.SIGTERM)
        assert served.exit_code() in (0, 1)
        served.wait_for("ending:")


# -- an engine that has failed


def test_an_engine_that_dies_is_said_to_everybody_and_ends_the_process(config: Path) -> None:
    with served_process(config, engine_that_dies_when_told) as served:
        served.wait_ready()
        served.signal(signal.SIGUSR1)
        for answer in (served.ask(), served.ask(), served.get("/health"), served.get("/ready")):
            assert answer.status_code == 503
            assert "the engine failed (SystemExit: a bug of ours)" in answer.text
        assert served.exit_code() == 1
        assert "ending with exit code 1: the engine failed" in served.log


def test_an_operators_drain_ends_what_runs_and_then_the_process(config: Path) -> None:
    config.write_text(config.read_text().replace("drain_s = 0.5", "drain_s = 60"))
    with served_process(config, slow_steps) as server, ThreadPoolExecutor(2) as threads:
        server.wait_ready()
        begun = threading.Event()
        running = threads.submit(server.stream, begun, max_tokens=30, ignore_eos=True)
        assert begun.wait(60)
        drained = httpx.post(f"{server.url}/admin/drain", timeout=60)
        assert drained.json() == {"ok": True, "num_running": 1, "ends": True}
        ready = server.get("/ready")
        assert (ready.status_code, ready.json()["status"]) == (503, "draining")
        refused = server.ask()
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "shutting_down")
        server.signal(signal.SIGTERM)  # what an orchestrator sends after its hook: it does not cut off what runs
        assert running.result()[-1] == "data: [DONE]"
        assert server.exit_code() == 0
