"""A load that stalls, a step that raises, an expert that does not fit: each touches its own requests and no other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest
import tiny_models
from compositions import ask, integrity, with_runtime, write_config

from coe.errors import DeadlineError, ExpertError, WeightsError
from coe.models.cpu.compiled_llama import DecodePass
from coe.models.llama.model import LlamaModel
from coe.models.llama.ragged import RaggedPass
from coe.runtime import Runtime
from coe.types import GenerateRequest, Message, Sampling, SwitchKind
from coe.weights.store.unit_store import UnitStore
from coe.weights.unit import Unit


class Disk:
    """A disk that reads no unit called `name` before it is opened."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.reached, self.opened = threading.Event(), threading.Event()

    def wait(self, read: Callable[[], None]) -> None:
        self.reached.set()
        assert self.opened.wait(60)
        read()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk, real = Disk("layer.2"), UnitStore.reads

    def reads(store: UnitStore, unit: Unit, target: memoryview) -> Sequence[Callable[[], None]]:
        found = real(store, unit, target)
        return [lambda read=read: disk.wait(read) for read in found] if unit.name == disk.name else found  # type: ignore[misc]

    monkeypatch.setattr(UnitStore, "reads", reads)
    yield disk
    disk.opened.set()


@pytest.fixture
def config(tmp_path: Path, llama_folder: Path, qwen3_folder: Path) -> Path:
    return write_config(tmp_path, {"llama": llama_folder, "other": qwen3_folder})


async def reached(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 60)


def test_the_deadline_reaches_a_request_whose_first_step_waits_for_weights(config: Path, disk: Disk) -> None:
    """It counted only until the first step had begun; a disk that hangs after that held its requests for ever."""
    config.write_text(config.read_text() + "\n[scheduler]\ndeadline_s = 0.2\n")

    async def work(runtime: Runtime) -> None:
        with pytest.raises(DeadlineError, match="'other'"):
            await ask(runtime, "other", "hello", 4)
        await integrity(runtime)
        disk.opened.set()
        await runtime.operator.load("other")
        assert await ask(runtime, "other", "hello", 4)

    with_runtime(config, work)


def test_a_cancelled_request_does_not_hold_a_lease_while_its_weights_load(config: Path, disk: Disk) -> None:
    async def work(runtime: Runtime) -> None:
        waiting = asyncio.create_task(ask(runtime, "other", "hello", 4))
        await reached(disk.reached)
        while not await asyncio.wrap_future(runtime.engine.call(lambda: bool(runtime.engine._steps.experts))):
            await asyncio.sleep(0)  # until its step has begun with the units that are here
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        while runtime.engine.status.residency("other").num_leases:
            await asyncio.sleep(0)
        await integrity(runtime)
        disk.opened.set()
        assert await ask(runtime, "other", "hello", 4)

    with_runtime(config, work)


@pytest.mark.parametrize("place", ["run_unit", "logits", "new_kv"])
def test_a_step_that_raises_ends_its_own_requests_by_name_and_nothing_else(
    config: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Whatever a kernel raised used to end the engine thread, and with it everybody's requests."""
    owners, broken = (LlamaModel,) if place == "new_kv" else (RaggedPass, DecodePass), threading.Event()

    def raising(owner: Any, real: Callable[..., object], *arguments: object) -> object:
        shape = owner.shape if isinstance(owner, LlamaModel) else owner._shape
        if broken.is_set() and shape.max_positions == 257:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return real(owner, *arguments)

    async def work(runtime: Runtime) -> None:
        other = runtime.experts.served["other"].loaded.model
        object.__setattr__(other.shape, "max_positions", 257)  # type: ignore[attr-defined]
        for owner in owners:
            monkeypatch.setattr(owner, place, partialmethod(raising, getattr(owner, place)))
        before = await ask(runtime, "other", "hello", 4)
        broken.set()
        healthy = asyncio.create_task(ask(runtime, "llama", "hello", 16))
        with pytest.raises(ExpertError, match=r"expert 'other'.*illegal memory access"):
            await ask(runtime, "other", "hello", 4)
        assert len(await healthy) > 0
        await integrity(runtime)
        broken.clear()
        assert await ask(runtime, "other", "hello", 4) == before

    with_runtime(config, work)


@pytest.mark.parametrize("device", ["cpu", "emulated"])
@pytest.mark.parametrize("tied", [True, False])
def test_an_expert_larger_than_the_device_streams_and_answers_as_if_it_were_not(
    tmp_path: Path, llama_folder: Path, device: str, tied: bool
) -> None:
    large = tiny_models.tiny_llama(tmp_path / "large", num_layers=24, tied=tied)
    config = write_config(tmp_path, {"llama": llama_folder, "large": large})
    text = config.read_text().replace('device = "cpu"', f'device = "{device}"\nkv_bytes = "1500kB"')
    prompts = ["What is the capital of France?", "SELECT name FROM", "Once upon a time"]

    async def alone(runtime: Runtime) -> list[list[int]]:
        return [await ask(runtime, "large", prompt, 6) for prompt in prompts]

    async def together(runtime: Runtime) -> list[list[int]]:
        assert {status.name: status.is_streaming for status in runtime.operator.experts()} == {
            "llama": False,
            "large": True,
        }
        with pytest.raises(WeightsError, match="cannot be pinned"):
            await runtime.operator.pin("large")
        answers = asyncio.gather(*(ask(runtime, "large", prompt, 6) for prompt in prompts))
        others = asyncio.gather(*(ask(runtime, "llama", prompt, 24) for prompt in prompts))
        got, _ = await answers, await others
        await integrity(runtime)
        events = [event async for event in runtime.generate(request("large"))]
        assert events[-1].switch.kind is not SwitchKind.DEVICE_HIT  # type: ignore[union-attr]
        return got

    config.write_text(text)
    expected = with_runtime(config, alone)
    config.write_text(text.replace('host_bytes = "64MB"', 'host_bytes = "2600kB"\ndevice_bytes = "2600kB"'))
    assert with_runtime(config, together) == expected


def test_an_expert_larger_than_the_device_that_runs_whole_is_left_out_and_the_others_serve(
    tmp_path: Path, llama_folder: Path
) -> None:
    large = tiny_models.tiny_gpt2(tmp_path / "large", num_layers=40)
    config = write_config(tmp_path, {"llama": llama_folder, "large": large})
    config.write_text(
        config.read_text().replace('"64MB"', '"3MB"').replace("num_threads", 'kv_bytes = "1MB"\nnum_threads')
    )

    async def work(runtime: Runtime) -> None:
        with pytest.raises(WeightsError, match=r"'large'.*budget.*runs whole"):
            await ask(runtime, "large", "hello", 2)
        assert await ask(runtime, "llama", "hello", 2)

    with_runtime(config, work)


def test_an_unload_right_after_an_answer_frees_what_it_ran_on(config: Path) -> None:
    """The lease was given up a turn later, so an unload that came at once freed nothing and said so to nobody."""

    async def work(runtime: Runtime) -> None:
        for _ in range(20):
            assert await ask(runtime, "other", "hello", 1)
            assert await asyncio.wrap_future(runtime.engine.operator.unload("other")) > 0

    with_runtime(config, work)


def request(expert: str) -> GenerateRequest:
    sampling = Sampling(temperature=0.0, max_tokens=2)
    return GenerateRequest("again", messages=(Message("user", "hello"),), expert=expert, sampling=sampling)
