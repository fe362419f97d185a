"""A fault anywhere in the engine: everybody is answered, for one expert alone or because the engine has failed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from compositions import ask, write_config
from seams import Panic

from coe.assembly.wire import build_runtime
from coe.config.read import load_config
from coe.engine.loop import Engine
from coe.engine.prefix_reuse import PrefixReuse
from coe.engine.step_runner import StepRunner
from coe.errors import CoeError, EngineError, ExpertError
from coe.models.cpu.compiled_llama import DecodePass
from coe.models.llama.model import LlamaModel
from coe.models.llama.ragged import RaggedPass
from coe.runtime import Runtime
from coe.scheduling.scheduler import Scheduler
from coe.telemetry.metrics import Metrics
from coe.types import Message, RouteQuery
from coe.weights.cache import WeightCache
from coe.weights.loader import Loader
from coe.weights.memory.device import EmulatedDevice
from coe.weights.store.unit_store import UnitStore
from coe.weights.transfer import DiskReader, LaneCopier
from router import GeneralOnly

REASON = "a bug of ours"


class Fault:
    """Once armed, a method raises whenever it is called."""

    def __init__(self, patch: pytest.MonkeyPatch, owner: type, method: str, error: BaseException) -> None:
        real, self.armed = getattr(owner, method), threading.Event()

        def run(*arguments: Any, **named: Any) -> Any:
            if self.armed.is_set():
                raise error
            return real(*arguments, **named)

        patch.setattr(owner, method, run)


@pytest.fixture
def config(tmp_path: Path, llama_folder: Path, qwen3_folder: Path) -> Path:
    file = write_config(tmp_path, {"llama": llama_folder, "other": qwen3_folder})
    file.write_text(file.read_text().replace('device = "cpu"', 'device = "emulated"'))
    return file


@pytest.fixture(autouse=True)
def no_thread_dies_unheard(recwarn: pytest.WarningsRecorder) -> Iterator[None]:
    yield
    assert not [each for each in recwarn if each.category is pytest.PytestUnhandledThreadExceptionWarning]


def run(config: Path, work: Callable[[Runtime], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        read = load_config(config)
        runtime = build_runtime(read, GeneralOnly(general=read.router.general, names=read.names))
        await runtime.start()
        try:
            await work(runtime)
        finally:
            await runtime.close()

    asyncio.run(main())


async def ends_of(runtime: Runtime) -> list[object]:
    """How requests under way, one that comes cold, one that is cancelled and an operator's command end."""
    running = [asyncio.create_task(ask(runtime, "llama", f"hello {number}", 200)) for number in range(3)]
    cold = asyncio.create_task(ask(runtime, "other", "hello", 4))
    gone = asyncio.create_task(ask(runtime, "llama", "gone", 200))
    command = asyncio.create_task(runtime.operator.load("other"))
    await asyncio.sleep(0)
    gone.cancel()
    ends: list[object] = await asyncio.gather(*running, cold, command, return_exceptions=True)
    return ends


OF_THE_ENGINE = [
    (Scheduler, "decide"),
    (Scheduler, "admit"),
    (WeightCache, "lease"),
    (WeightCache, "touch"),
    (WeightCache, "on_arrived"),
    (WeightCache, "count_request"),
    (Engine, "_submit"),
    (Engine, "_handle"),
    (Engine, "_do"),
    (DiskReader, "read"),
    (LaneCopier, "copy"),
    (Loader, "finish"),
    (PrefixReuse, "donor"),
    (Metrics, "loaded"),
]


@pytest.mark.parametrize("error", [ValueError(REASON), SystemExit(REASON)], ids=["Exception", "BaseException"])
@pytest.mark.parametrize(("owner", "method"), OF_THE_ENGINE, ids=lambda value: getattr(value, "__name__", value))
def test_a_fault_outside_a_step_ends_the_engine_and_everybody_is_told_why(
    config: Path, monkeypatch: pytest.MonkeyPatch, owner: type, method: str, error: BaseException
) -> None:
    """Some requests were never answered, and all later ones heard of a shutdown for ever."""
    fault = Fault(monkeypatch, owner, method, error)

    async def work(runtime: Runtime) -> None:
        assert await ask(runtime, "llama", "hello", 2)
        fault.armed.set()
        ends = await ends_of(runtime)
        await runtime.failed()
        assert {type(end) for end in ends} <= {EngineError, list, type(None)}  # tokens, or a load: it had ended before
        assert EngineError in map(type, ends)
        for late in (ask(runtime, "other", "late"), runtime.operator.load("llama"), runtime.route(QUERY)):
            with pytest.raises(EngineError, match=REASON):
                await late
        assert not runtime.is_ready
        assert REASON in str(runtime.failure) == runtime.readiness()

    run(config, work)


def test_a_fault_in_a_cancellation_is_told_too(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = Fault(monkeypatch, Scheduler, "cancel", ValueError(REASON))

    async def work(runtime: Runtime) -> None:
        fault.armed.set()
        kept = asyncio.create_task(ask(runtime, "llama", "hello", 400, ignore_eos=True))
        gone = asyncio.create_task(ask(runtime, "llama", "hello", 400, ignore_eos=True))
        while runtime.engine.status.num_requests("llama") < 2:
            await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(EngineError, match=REASON):
            await kept

    run(config, work)


OF_ONE_EXPERT: list[tuple[tuple[type, ...], str]] = [
    ((RaggedPass, DecodePass), "run_unit"),
    ((LlamaModel,), "new_kv"),
    ((StepRunner,), "go_on"),
    ((Metrics,), "stepped"),
    ((UnitStore,), "reads"),
    ((UnitStore,), "check"),
    ((EmulatedDevice,), "copy"),
]


@pytest.mark.parametrize("error", [OSError(REASON), SystemExit(REASON), Panic(REASON)], ids=lambda e: type(e).__name__)
@pytest.mark.parametrize(("owners", "method"), OF_ONE_EXPERT, ids=lambda value: value if isinstance(value, str) else "")
def test_a_fault_in_a_step_or_a_load_ends_that_experts_requests(
    config: Path, monkeypatch: pytest.MonkeyPatch, owners: tuple[type, ...], method: str, error: BaseException
) -> None:
    faults = [Fault(monkeypatch, owner, method, error) for owner in owners]

    async def work(runtime: Runtime) -> None:
        for fault in faults:
            fault.armed.set()
        for _ in range(2):
            with pytest.raises(ExpertError, match=REASON):
                await ask(runtime, "other", "hello", 4)
        for fault in faults:
            fault.armed.clear()
        assert await ask(runtime, "other", "hello", 4)
        assert await ask(runtime, "llama", "hello", 4)
        assert runtime.is_ready
        await asyncio.wrap_future(runtime.engine.call(runtime.engine.check_integrity))

    run(config, work)


def test_a_step_that_leaves_the_device_unusable_ends_the_engine(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an illegal access CUDA refuses every later call: no expert can run in this process."""
    faults = [Fault(monkeypatch, StepRunner, "go_on", RuntimeError("illegal memory access"))]
    faults.append(Fault(monkeypatch, EmulatedDevice, "check", RuntimeError(REASON)))

    async def work(runtime: Runtime) -> None:
        for fault in faults:
            fault.armed.set()
        with pytest.raises((ExpertError, EngineError), match=f"illegal memory access|{REASON}"):
            await ask(runtime, "llama", "hello", 4)
        await runtime.failed()
        assert REASON in str(runtime.failure)

    run(config, work)


def test_transfer_threads_that_die_fail_the_load(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their work was dropped, and the requests that waited for it heard nothing."""

    def die() -> None:
        raise SystemExit(REASON)

    async def work(runtime: Runtime) -> None:
        with pytest.raises(CoeError):
            await ask(runtime, "other", "hello", 4)

    monkeypatch.setattr("coe.weights.transfer._one_math_thread", die)
    run(config, work)


def test_a_start_that_fails_is_told(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Engine) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Engine, "start", fail)

    async def work(runtime: Runtime) -> None:
        await runtime.failed()
        with pytest.raises(EngineError, match="can't start new thread"):
            await ask(runtime, "llama", "hello")

    run(config, work)


QUERY = RouteQuery((Message("user", "hello"),))
