"""A long random run over a real runtime: whatever happens in whatever order, the books balance and everybody is served.

Six experts, memory for two or three; requests, cancellations, loads, unloads and pins in a seeded random order. With
faults, reads fail, the device has no memory and kernels raise at times: requests then end with the error of their own
expert, and afterwards every expert answers as a fresh load did.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from compositions import ask, integrity, outcome, with_runtime, write_config

from coe.errors import WeightsError
from coe.models.cpu.compiled_llama import DecodePass
from coe.models.llama.ragged import RaggedPass
from coe.runtime import Runtime
from coe.weights.memory.device import EmulatedDevice
from coe.weights.store import file_reads

SHAPES = ("llama", "other_llama", "untied_llama", "qwen2", "qwen3", "gpt2")
NUM_EVENTS = 150


class Faults:
    """Fails every so many calls of a function while it is switched on."""

    def __init__(self, chance: random.Random) -> None:
        self.is_on, self._chance = False, chance

    def wrap(self, real: Callable[..., Any], rate: float, error: Callable[[], Exception]) -> Callable[..., Any]:
        def work(*arguments: Any, **named: Any) -> Any:
            if self.is_on and self._chance.random() < rate:
                raise error()
            return real(*arguments, **named)

        return work


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    faults = Faults(random.Random(0))
    for owner, name, rate, error in (
        (file_reads, "_read_cached", 0.02, lambda: OSError(errno.EIO, "Input/output error")),
        (EmulatedDevice, "copy", 0.01, lambda: RuntimeError("a copy failed")),
        (RaggedPass, "run_unit", 0.002, lambda: RuntimeError("a kernel failed")),
        (DecodePass, "run_unit", 0.002, lambda: RuntimeError("a kernel failed")),
    ):
        monkeypatch.setattr(owner, name, faults.wrap(getattr(owner, name), rate, error))
    return faults


@pytest.mark.parametrize("device", ["cpu", "emulated"])
@pytest.mark.parametrize(("seed", "is_faulty"), [(0, False), (1, False), (2, True)])
def test_books_balance_after_every_event_and_every_request_ends(
    tmp_path: Path, request: pytest.FixtureRequest, faults: Faults, device: str, seed: int, is_faulty: bool
) -> None:
    folders = {shape: request.getfixturevalue(f"{shape}_folder") for shape in SHAPES}
    config = write_config(tmp_path, folders)
    text = config.read_text().replace('device = "cpu"', f"device = '{device}'\nkv_bytes = '800kB'")
    text = text.replace('host_bytes = "64MB"', 'host_bytes = "5MB"\ndevice_bytes = "4MB"')
    config.write_text(text + "\n[scheduler]\nslice_steps = 2\nmax_wait_s = 0.05\n")
    chance = random.Random(seed)

    async def work(runtime: Runtime) -> Counter[str]:
        before = [await ask(runtime, shape, "hello", 8) for shape in SHAPES]
        faults.is_on = is_faulty
        tasks: list[asyncio.Task[str]] = []
        for _ in range(NUM_EVENTS):
            await one_event(runtime, chance, tasks)
            await integrity(runtime)
        for shape in SHAPES:
            await runtime.operator.unpin(shape)
        ends = Counter(await asyncio.gather(*tasks))
        faults.is_on = False
        for shape in SHAPES:
            await runtime.operator.load(shape)  # which closes its breaker
        assert [await ask(runtime, shape, "hello", 8) for shape in SHAPES] == before
        return ends

    ends = with_runtime(config, work)
    assert ends["ok"] > 0
    assert ends["cancelled"] > 0
    errors = {"WeightsError", "ExpertError", "BreakerOpenError"}
    assert set(ends) <= {"ok", "cancelled", "OverloadedError", "PinnedOutError"} | (errors if is_faulty else set())
    assert bool(set(ends) & errors) == is_faulty


async def one_event(runtime: Runtime, chance: random.Random, tasks: list[asyncio.Task[str]]) -> None:
    shape = chance.choice(SHAPES)
    kind = chance.choices(("ask", "cancel", "load", "unload", "pin", "unpin", "pause"), (8, 2, 1, 2, 1, 2, 2))[0]
    if kind == "ask":
        prompt, num_tokens = "word " * chance.randrange(1, 40), chance.choice((chance.randrange(1, 24), 120))
        tasks.append(asyncio.create_task(cancellable(runtime, shape, prompt, num_tokens)))
    elif kind == "cancel" and tasks:
        chance.choice(tasks).cancel()
    elif kind in ("load", "unload", "pin", "unpin"):
        with contextlib.suppress(WeightsError):  # no room beside what is pinned or running: refused, nothing lost
            await asyncio.wait_for(getattr(runtime.operator, kind)(shape), 60)
    else:
        await asyncio.sleep(0)


async def cancellable(runtime: Runtime, shape: str, prompt: str, num_tokens: int) -> str:
    try:
        return await outcome(runtime, shape, prompt, num_tokens)
    except asyncio.CancelledError:
        return "cancelled"
