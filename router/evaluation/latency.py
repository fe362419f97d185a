"""Latency of routing: encoding, deciding and both, one prompt at a time, beside the bare matrix products.

Owns the prompts, the clock and the ceiling: the encoder's matrix products alone, in the same run. Every prompt is new
and no encoder remembers one. Knows nothing about quality, tables or files.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from coe.types import Message, RouteQuery
from router.directory import Directory
from router.encoding.encoder import Encoder
from router.model.artefact import Artefact
from router.policy import RoutingPolicy
from router.router import Router

__all__ = ["Latency", "measure_latency"]

WORDS = ("river", "sum", "table", "patient", "court", "market", "verb", "cipher", "story", "city", "clause", "vector")
NUM_WARM_UP = 10
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8}
NUM_CEILING_CALLS = 20


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Quantiles of the time of one call."""

    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Latency:
    """One encoder at one length. A ceiling is the median time of the bare matrix products, None without any."""

    encoder: str
    arithmetic: str  # "float32", "bfloat16" or "int8"
    device: str
    num_threads: int
    num_tokens: int
    num_tokens_read: int
    num_calls: int
    encode: Quantiles
    decide: Quantiles
    both: Quantiles
    num_operations: int  # multiplications and additions of the matrix products
    float32_ceiling_ms: float | None
    ceiling_ms: float | None  # in the encoder's own arithmetic

    @property
    def fraction_of_ceiling(self) -> float | None:
        """Time of the bare products over the encoder's."""
        return None if self.ceiling_ms is None else self.ceiling_ms / self.encode.p50_ms


class FixedEncoder:
    """An encoder that returns one vector at once: the time of routing with it is that of the decision."""

    def __init__(self, encoder: Encoder, vector: NDArray[np.float32]) -> None:
        self.id, self.source, self.num_dims = encoder.id, encoder.source, encoder.num_dims
        self._vector = vector

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vector, for one text."""
        assert len(texts) == 1
        return self._vector


def measure_latency(
    artefact: Artefact, lengths: Sequence[int], *, device: str, num_threads: int, num_calls: int, seed: int
) -> Iterator[Latency]:
    """Yield one measurement per length in tokens, each over `num_calls` prompts after a warm-up."""
    encoder = Encoder(artefact.encoder_source, device=device)
    with math_threads(num_threads):
        for num_tokens in lengths:
            prompts = made_up_prompts(encoder, num_calls + NUM_WARM_UP, num_tokens, seed)
            yield latency_at(artefact, encoder, prompts, num_tokens, device, num_threads)


def latency_at(
    artefact: Artefact, encoder: Encoder, prompts: Sequence[str], num_tokens: int, device: str, num_threads: int
) -> Latency:
    num_read = encoder.num_tokens_read(prompts[0])
    shapes = encoder.matmul_shapes
    ceilings = {name: ceiling_ms(shapes, num_read, device, DTYPES[name]) for name in {"float32", encoder.arithmetic}}
    vectors = encoder.encode(prompts[:1])
    policy = RoutingPolicy(Directory({"general": "general"}, "general"))
    whole = Router(artefact, encoder, policy)
    decision = Router(artefact, FixedEncoder(encoder, vectors), policy)
    asks = {
        prompt: [RouteQuery((Message("user", prompt),), only_explains=True)] for prompt in prompts
    }  # leaves no trace
    return Latency(
        encoder=artefact.encoder_source,
        arithmetic=encoder.arithmetic,
        device=device,
        num_threads=num_threads,
        num_tokens=num_tokens,
        num_tokens_read=num_read,
        num_calls=len(prompts) - NUM_WARM_UP,
        float32_ceiling_ms=ceilings["float32"],
        ceiling_ms=ceilings[encoder.arithmetic],
        encode=quantiles(lambda prompt: encoder.encode([prompt]), prompts),
        decide=quantiles(lambda prompt: decision.route(asks[prompt]), prompts),
        both=quantiles(lambda prompt: whole.route(asks[prompt]), prompts),
        num_operations=2 * num_read * sum(rows * columns for rows, columns in shapes),
    )


def made_up_prompts(encoder: Encoder, num_prompts: int, num_tokens: int, seed: int) -> list[str]:
    """Return prompts of so many tokens each, special tokens included; no two alike but for chance."""
    rng = np.random.default_rng(seed)
    return [one_prompt(encoder, rng, num_tokens) for _ in range(num_prompts)]


def one_prompt(encoder: Encoder, rng: np.random.Generator, num_tokens: int) -> str:
    words = rng.choice(WORDS, num_tokens).tolist()
    while len(words) > 1 and (count := encoder.num_tokens(" ".join(words))) > num_tokens:
        del words[max(1, len(words) * num_tokens // count) :]
    missing = num_tokens - encoder.num_tokens(" ".join(words))
    return " ".join(words + ["a"] * missing)


def quantiles(call: Callable[[str], object], prompts: Sequence[str]) -> Quantiles:
    """Return the quantiles of one call per prompt, the warm-up left out."""
    times_s = [timed_s(lambda prompt=prompt: call(prompt)) for prompt in prompts]  # type: ignore[misc]
    p50_s, p99_s = np.quantile(times_s[NUM_WARM_UP:], [0.5, 0.99]).tolist()
    return Quantiles(p50_s * 1e3, p99_s * 1e3)


def ceiling_ms(shapes: Sequence[tuple[int, int]], num_tokens: int, device: str, dtype: torch.dtype) -> float | None:
    """Return the median time of the products (num_tokens, in) x (in, out), weights streaming as in the encoder."""
    if not shapes:
        return None
    is_int8 = dtype == torch.int8
    weights = [operand(columns, rows, dtype, device).t() for rows, columns in shapes]  # (in, out)
    inputs = {rows: operand(num_tokens, rows, dtype, device) for rows, _ in shapes}
    multiply = torch._int_mm if is_int8 else torch.mm

    def once() -> None:
        for weight in weights:
            multiply(inputs[weight.shape[0]], weight)
        if device != "cpu":
            torch.cuda.synchronize()

    with torch.inference_mode():
        return float(np.median([timed_s(once) for _ in range(NUM_CEILING_CALLS)])) * 1e3


def operand(rows: int, columns: int, dtype: torch.dtype, device: str) -> torch.Tensor:
    return torch.randint(-127, 128, (rows, columns), device=device).to(dtype)


def timed_s(call: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    call()
    return time.perf_counter() - started_s


@contextmanager
def math_threads(num_threads: int) -> Iterator[None]:
    """Let torch use so many threads, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
