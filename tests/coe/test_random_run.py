"""A long random run over a real runtime: whatever happens in whatever order, the books balance and everybody is served.

Six experts, memory for two or three; requests, cancellations, loads, unloads and pins in a seeded random order.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from pathlib import Path

import pytest
from compositions import ask, integrity, outcome, with_runtime, write_config

from coe.errors import WeightsError
from coe.runtime import Runtime

SHAPES = ("llama", "other_llama", "untied_llama", "qwen2", "qwen3", "gpt2")
NUM_EVENTS = 150


@pytest.mark.parametrize("device", ["cpu", "emulated"])
@pytest.mark.parametrize("seed", [0, 1])
def test_books_balance_after_every_event_and_every_request_ends(
    tmp_path: Path, request: pytest.FixtureRequest, device: str, seed: int
) -> None:
    folders = {shape: request.getfixturevalue(f"{shape}_folder") for shape in SHAPES}
    config = write_config(tmp_path, folders)
    text = config.read_text().replace('device = "cpu"', f"device = '{device}'\nkv_bytes = '2MB'")
    text = text.replace('host_bytes = "64MB"', 'host_bytes = "5MB"\ndevice_bytes = "4MB"')
    config.write_text(text + "\n[scheduler]\nslice_steps = 2\nmax_wait_s = 0.05\n")
    chance = random.Random(seed)

    async def work(runtime: Runtime) -> Counter[str]:
        before = await ask(runtime, "llama", "hello", 8)
        tasks: list[asyncio.Task[str]] = []
        for _ in range(NUM_EVENTS):
            await one_event(runtime, chance, tasks)
            await integrity(runtime)
        for shape in SHAPES:
            await runtime.unpin(shape)
        ends = Counter(await asyncio.gather(*tasks))
        assert await ask(runtime, "llama", "hello", 8) == before
        return ends

    ends = with_runtime(config, work)
    assert ends["ok"] > 0
    assert ends["cancelled"] > 0
    assert set(ends) <= {"ok", "cancelled", "OverloadedError"}


async def one_event(runtime: Runtime, chance: random.Random, tasks: list[asyncio.Task[str]]) -> None:
    shape = chance.choice(SHAPES)
    kind = chance.choices(("ask", "cancel", "load", "unload", "pin", "unpin", "pause"), (8, 2, 1, 2, 1, 2, 2))[0]
    if kind == "ask":
        prompt, num_tokens = "word " * chance.randrange(1, 40), chance.randrange(1, 24)
        tasks.append(asyncio.create_task(cancellable(runtime, shape, prompt, num_tokens)))
    elif kind == "cancel" and tasks:
        chance.choice(tasks).cancel()
    elif kind in ("load", "unload", "pin", "unpin"):
        with contextlib.suppress(WeightsError):  # no room beside what is pinned or running: refused, nothing lost
            await asyncio.wait_for(getattr(runtime, kind)(shape), 60)
    else:
        await asyncio.sleep(0)


async def cancellable(runtime: Runtime, shape: str, prompt: str, num_tokens: int) -> str:
    try:
        return await outcome(runtime, shape, prompt, num_tokens)
    except asyncio.CancelledError:
        return "cancelled"
