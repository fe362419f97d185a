"""Does compute hide the copy, and does a load leave the others alone: two measurements of `coe bench switch`.

A host hit over a copy link that is capped so that the copy takes half, once and twice the prefill should take
max(copy, prefill) and one unit. The prompt fills a step, because copies over an emulated link take the cores that
compute, as a real link's do not: beside a short prompt they would be all that is measured. Resident answers and host
hits take turns. A warm expert that decodes while another comes from a slow disk should keep its pace.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from coe.bench.report import median, p95
from coe.bench.switch.testbed import Testbed, ThrottledDisk, ask, home_of, unload
from coe.runtime import Runtime
from coe.types import Message

__all__ = ["measure_overlap"]

RATIOS = (0.5, 1.0, 2.0)  # copy over prefill
PROMPT_TOKENS = 480  # at most
NUM_TOKENS = 64  # that the warm expert decodes per round
LOADS_S = 4.0  # the disk is as slow as makes one load take this long


async def measure_overlap(testbed: Testbed, device: str, prompt: str, num_runs: int) -> dict[str, Any]:
    """Both measurements, as they go into the JSON."""
    capped = [] if device != "emulated" else await _capped_copy_link(testbed, prompt, num_runs)
    beside = await _beside_a_load(testbed, home_of(device), prompt, num_runs)
    return {"capped_copy_link": capped, "beside_a_load": beside}


async def _capped_copy_link(testbed: Testbed, prompt: str, num_runs: int) -> list[dict[str, Any]]:
    name, size = testbed.names[0], testbed.expert_bytes
    async with testbed.runtime("emulated", fits=1, host_fits=1) as runtime:
        prompt = _repeated(runtime, name, prompt)
        await runtime.operator.load(name)
        expected_s = median([(await ask(runtime, name, prompt)).first_token_s for _ in range(num_runs + 1)][1:])
    unit_bytes = median([unit.size_bytes for unit in testbed.imported[0].manifest.units])
    rows = []
    for ratio in RATIOS:
        copy_s = ratio * expected_s
        async with testbed.runtime(
            "emulated", fits=1, host_fits=1, copy_link_bytes_per_s=int(size / copy_s)
        ) as runtime:
            prefill_s, first_token_s = await _in_turns(runtime, name, prompt, num_runs)
        bound_s = max(copy_s, prefill_s) + unit_bytes / size * copy_s
        rows.append(
            {
                "copy_over_prefill": ratio,
                "prefill_ms": round(prefill_s * 1e3, 1),
                "copy_ms": round(copy_s * 1e3, 1),
                "first_token_ms_p50": round(first_token_s * 1e3, 1),
                "bound_ms": round(bound_s * 1e3, 1),
                "over_bound": round(first_token_s / bound_s, 3),
            }
        )
    return rows


def _repeated(runtime: Runtime, name: str, prompt: str) -> str:
    """The prompt as often as makes it nearly PROMPT_TOKENS long, the chat template included."""
    once, twice = (
        len(runtime.experts.find(name).text.encode_chat((Message("user", text),)))
        for text in (prompt, f"{prompt} {prompt}")
    )
    return " ".join([prompt] * (1 + max(0, PROMPT_TOKENS - once) // (twice - once)))


async def _in_turns(runtime: Runtime, name: str, prompt: str, num_runs: int) -> tuple[float, float]:
    """Median seconds to the first token of a resident expert and of one that comes over the copy link."""
    resident_s, host_s = [], []
    await runtime.operator.load(name)
    await ask(runtime, name, prompt)
    for _ in range(num_runs):
        resident_s.append((await ask(runtime, name, prompt)).first_token_s)
        await unload(runtime, [name], keeps_host=True)
        host_s.append((await ask(runtime, name, prompt)).first_token_s)
    return median(resident_s), median(host_s)


async def _beside_a_load(testbed: Testbed, device: str, prompt: str, num_runs: int) -> dict[str, Any]:
    warm, cold = testbed.names[:2]
    disk = ThrottledDisk(testbed.store, testbed.expert_bytes / LOADS_S)
    alone: list[float] = []
    beside: list[float] = []
    async with testbed.runtime(device, fits=2, host_fits=2, source=disk) as runtime:
        await runtime.operator.load(warm)
        await ask(runtime, warm, prompt, NUM_TOKENS)
        for _ in range(num_runs):
            alone += (await ask(runtime, warm, prompt, NUM_TOKENS)).between_s
            await unload(runtime, [cold])
            loading = asyncio.create_task(runtime.operator.load(cold))
            beside += await _while(loading, runtime, warm, prompt)
    ratio = p95(beside) / p95(alone)
    return {
        "disk_bytes_per_s": round(testbed.expert_bytes / LOADS_S),
        "alone_ms_p95": round(p95(alone) * 1e3, 2),
        "beside_ms_p95": round(p95(beside) * 1e3, 2),
        "ratio": round(ratio, 3),
        "num_tokens": len(beside),
    }


async def _while(loading: asyncio.Task[None], runtime: Any, name: str, prompt: str) -> Sequence[float]:
    """Seconds between tokens of answers that ended before the load did; at least one answer."""
    between = list((await ask(runtime, name, prompt, NUM_TOKENS)).between_s)
    while not loading.done():
        answer = await ask(runtime, name, prompt, NUM_TOKENS)
        if not loading.done():
            between += answer.between_s
    await loading
    return between
