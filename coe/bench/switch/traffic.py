"""Mixed traffic on real experts: ours beside the SN40L paper's policy, on the same requests and the same memory.

The paper's policy: first come first served, one request at a time, whole experts, least recently used goes, nothing
overlapped. Closed loop: so many clients, each asks its next question when the last one is answered.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from coe.bench.report import median, p95
from coe.bench.switch.testbed import Answer, Testbed, ask
from coe.bench.zipf import zipf
from coe.types import Tier

__all__ = ["measure_traffic"]

NUM_CLIENTS = 8
NUM_TOKENS = 20  # the paper's short answer
EXPONENT = 1.0
SEED = 0


class _Policy(NamedTuple):
    name: str
    eviction: str
    schedule: Mapping[str, Any]


POLICIES = (_Policy("coe", "value", {}), _Policy("paper: fcfs, LRU, whole, serial", "lru", {"policy": "fcfs"}))


async def measure_traffic(testbed: Testbed, device: str, prompt: str, num_requests: int) -> list[dict[str, Any]]:
    """One row per policy; a quarter of the experts fit where the engine computes, half in a GPU's host."""
    shares = zipf(EXPONENT, len(testbed.names))
    wanted = random.Random(SEED).choices(testbed.names, shares, k=num_requests)
    rows = []
    for policy in POLICIES:
        async with testbed.runtime(
            device,
            fits=max(1.0, len(testbed.names) / 4),
            host_fits=max(1.0, len(testbed.names) / 2),
            eviction=policy.eviction,
            schedule=policy.schedule,
        ) as runtime:
            started_s = time.perf_counter()
            left = iter(wanted)
            answers: list[Answer] = []
            await asyncio.gather(*(_client(runtime, left, prompt, answers) for _ in range(NUM_CLIENTS)))
            took_s = time.perf_counter() - started_s
            loaded = runtime.metrics.snapshot().loaded_bytes.get(Tier.HOST, 0)
        first_token_s = [answer.first_token_s for answer in answers]
        rows.append(
            {
                "policy": policy.name,
                "zipf_exponent": EXPONENT,
                "seed": SEED,
                "num_clients": NUM_CLIENTS,
                "num_requests": len(answers),
                "first_token_ms_p50": round(median(first_token_s) * 1e3, 1),
                "first_token_ms_p95": round(p95(first_token_s) * 1e3, 1),
                "loaded_bytes": loaded,
                "took_s": round(took_s, 2),
            }
        )
    return rows


async def _client(runtime: Any, left: Iterator[str], prompt: str, answers: list[Answer]) -> None:
    for name in left:
        answers.append(await ask(runtime, name, prompt, NUM_TOKENS))
