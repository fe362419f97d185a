"""A long random run over a real runtime: whatever happens in whatever order, the books balance and everybody is served.

Six experts, memory for two or three; requests, cancellations, loads, unloads and pins in a seeded random order. With
faults, reads fail, the device has no memory and kernels raise at times: requests then end with the error of their own
expert, and afterwards every expert answers as a fresh load did.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections import Counter
from pathlib import Path

import pytest
from compositions import ask, integrity, outcome, with_runtime, write_config
from random_load import Event, Faults, events

from coe.errors import WeightsError
from coe.runtime import Runtime

SHAPES = ("llama", "other_llama", "untied_llama", "qwen2", "qwen3", "gpt2")
NUM_EVENTS = 150


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    return Faults(monkeypatch, random.Random(0))


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
        for event in itertools.islice(events(chance, SHAPES), NUM_EVENTS):
            await happen(runtime, event, tasks)
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


async def happen(runtime: Runtime, event: Event, tasks: list[asyncio.Task[str]]) -> None:
    if event.kind == "ask":
        answering = cancellable(runtime, event.expert, event.prompt, event.num_tokens)
        tasks.append(asyncio.create_task(answering))
    elif event.kind == "leave" and tasks:
        tasks[event.number % len(tasks)].cancel()
    elif event.kind in ("load", "unload", "pin", "unpin"):
        with contextlib.suppress(WeightsError):  # no room beside what is pinned or running: refused, nothing lost
            await asyncio.wait_for(getattr(runtime.operator, event.kind)(event.expert), 60)
    else:
        await asyncio.sleep(0)


async def cancellable(runtime: Runtime, shape: str, prompt: str, num_tokens: int) -> str:
    try:
        return await outcome(runtime, shape, prompt, num_tokens)
    except asyncio.CancelledError:
        return "cancelled"
