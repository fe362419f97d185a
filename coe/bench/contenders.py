"""Who is measured by `coe bench engine`: our engine, transformers' `generate` and continuous batching, llama.cpp.

Each takes the same prompts as token ids, generates greedily without looking at end-of-sequence, and says when every
token came. Weights are open before the clock starts. Knows nothing about tables.
"""

from __future__ import annotations

import time
from collections.abc import Sequence as Rows
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple, Protocol

import torch

from coe.assembly.import_experts import Imported
from coe.assembly.wire import build_runtime, wire
from coe.config.schema import Config, RouterConfig
from coe.engine.events import Submit
from coe.engine.sampling import Sampler
from coe.engine.sequence import Sequence
from coe.errors import CoeError
from coe.runtime import Runtime
from coe.text.detokenizer import Detokenizer
from coe.types import Admitted, Decision, Delta, Finished, RouteQuery, Sampling
from coe.weights.store.unit_store import UnitStore

__all__ = ["Coe", "Contender", "Trace", "TransformersBatching", "TransformersGenerate", "open_with_transformers"]

_BLOCK_TOKENS = 256  # of transformers' paged cache


class Trace(NamedTuple):
    """One run: per sequence, its tokens and the seconds from submission to each of them."""

    token_ids: list[list[int]]
    token_s: list[list[float]]

    @property
    def first_s(self) -> list[float]:
        return [times[0] for times in self.token_s]

    @property
    def prefilled_s(self) -> float:
        """When the last sequence had its first token."""
        return max(self.first_s)

    @property
    def decode_tokens_per_s(self) -> float:
        """Tokens that came after everybody's first, per second: decoding alone, at full batch."""
        end_s = max(times[-1] for times in self.token_s)
        count = sum(at_s > self.prefilled_s for times in self.token_s for at_s in times)
        return count / (end_s - self.prefilled_s)


class Contender(Protocol):
    name: str

    def run(self, prompts: Rows[list[int]], num_tokens: int) -> Trace:
        """Generate `num_tokens` for every prompt at once."""
        ...

    def close(self) -> None: ...


class Coe:
    """Our engine as the server runs it: its own thread, scheduler, detokenizer; prompts come in as token ids."""

    def __init__(self, runtime: Runtime, expert: str) -> None:
        self._runtime = runtime
        self._served = runtime.experts.served[expert]
        self.manifest = self._served.loaded.manifest
        self.name = f"coe, {self.manifest.dtype}"
        self._runtime.engine.start()
        self._runtime.engine.operator.load(expert).result()
        self._count = 0

    @classmethod
    def alone(cls, config: Config, expert: str, max_batch_size: int) -> Coe:
        """One expert of a configuration, everything else left out."""
        return cls(build_runtime(_alone(config, expert, max_batch_size), _NoRouter()), expert)

    @classmethod
    def of(cls, config: Config, store: UnitStore, expert: Imported) -> Coe:
        """An expert that is in the store, under the configuration's budgets."""
        name = expert.spec.name
        config = replace(config, router=RouterConfig(general=name, enabled=False))
        return cls(wire(config, _NoRouter(), store, [expert], {}, {name: name}), name)

    def tokens(self, text: str) -> list[int]:
        return list(self._served.text.encode_prompt(text))

    def run(self, prompts: Rows[list[int]], num_tokens: int, seeds: Rows[int] | None = None) -> Trace:
        """Greedy, or with a seed of its own for each prompt at temperature 1."""
        events: SimpleQueue[tuple[int, float, Admitted | Delta | Finished | CoeError]] = SimpleQueue()
        started_s = time.monotonic()
        for row, prompt in enumerate(prompts):
            sampling = Sampling(temperature=0.0) if seeds is None else Sampling(temperature=1.0, seed=seeds[row])
            sequence = self._sequence(row, prompt, num_tokens, sampling, started_s, events)
            self._runtime.engine.post(Submit((sequence,)))
        trace = Trace([[] for _ in prompts], [[] for _ in prompts])
        num_running = len(prompts)
        while num_running:
            row, at_s, event = events.get()
            if isinstance(event, CoeError):
                raise event
            if isinstance(event, Finished):
                num_running -= 1
            elif isinstance(event, Delta):
                trace.token_ids[row] += event.token_ids
                trace.token_s[row] += [at_s - started_s] * len(event.token_ids)
        return trace

    def _sequence(
        self, row: int, prompt: list[int], num_tokens: int, sampling: Sampling, now_s: float, events: Any
    ) -> Sequence:
        self._count += 1
        return Sequence(
            id=f"bench-{self._count}",
            expert=self._served.loaded.name,
            prompt_ids=tuple(prompt),
            max_tokens=num_tokens,
            eos_ids=frozenset(),
            sampler=Sampler(sampling),
            detokenizer=Detokenizer(self._served.text.tokenizer),
            vocabulary=self._served.text.vocabulary,
            sink=lambda event: events.put((row, time.monotonic(), event)),
            submitted_s=now_s,
        )

    def close(self) -> None:
        self._runtime.engine.close()


class TransformersGenerate:
    """transformers' `generate` on one batch of equally long prompts: no padding is needed."""

    def __init__(self, model: Any, dtype: str) -> None:
        self._model, self.name = model, f"transformers generate, {dtype}"

    def run(self, prompts: Rows[list[int]], num_tokens: int) -> Trace:
        ids = torch.tensor(list(prompts))
        times: list[float] = []
        started_s = time.monotonic()

        def clock(_ids: torch.Tensor, _scores: torch.Tensor, **_: object) -> torch.Tensor:
            times.append(time.monotonic() - started_s)
            return torch.zeros(len(prompts), dtype=torch.bool)  # nobody has ended

        with torch.inference_mode():
            out = self._model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=num_tokens,
                min_new_tokens=num_tokens,
                stopping_criteria=[clock],
            )
        return Trace(out[:, ids.shape[1] :].tolist(), [times] * len(prompts))

    def close(self) -> None: ...


class TransformersBatching:
    """transformers' continuous batching (`generate_batch`), with its own paged cache."""

    def __init__(self, model: Any, dtype: str) -> None:
        self._model, self.name = model, f"transformers continuous batching, {dtype}"

    def run(self, prompts: Rows[list[int]], num_tokens: int) -> Trace:
        from transformers import ContinuousBatchingConfig, GenerationConfig

        settings = GenerationConfig(do_sample=False, max_new_tokens=num_tokens, eos_token_id=-1, pad_token_id=0)
        num_blocks = len(prompts) * (-(-(len(prompts[0]) + num_tokens) // _BLOCK_TOKENS) + 1)  # a cache that fits
        found = self._model.generate_batch(
            inputs=list(prompts),
            generation_config=settings,
            continuous_batching_config=ContinuousBatchingConfig(num_blocks=num_blocks, max_batch_tokens=512),
            record_timestamps=True,
            warmup=False,
        )
        outputs = sorted(found.values(), key=lambda each: int(each.request_id.rpartition("_")[2]))
        for each in outputs:
            if each.error is not None:
                raise RuntimeError(f"continuous batching failed: {each.error}")
        started_s = min(each.created_time for each in outputs)  # its manager and cache are up by then
        times = [[at_s - started_s for at_s in each.timestamps] for each in outputs]
        return Trace([list(each.generated_tokens) for each in outputs], times)

    def close(self) -> None: ...


class _NoRouter:
    """Prompts are handed to the engine itself: nothing is ever routed."""

    def route(self, queries: Rows[RouteQuery]) -> Rows[Decision]:
        raise AssertionError(f"{len(queries)} prompts were routed")


def open_with_transformers(folder: Path, dtype: str) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype), local_files_only=True).eval()


def _alone(config: Config, expert: str, max_batch_size: int) -> Config:
    """The configuration with this expert only. The budgets are limits that no cell reaches: nothing is held ahead."""
    chosen = next(each for each in config.experts if each.name == expert)
    return replace(
        config,
        experts=(chosen,),
        router=RouterConfig(general=expert, enabled=False),
        engine=replace(config.engine, max_batch_size=max_batch_size, kv_bytes=32 << 30, prefix_reuse=False),
        cache=replace(config.cache, host_bytes=64 << 30, device_bytes=None),
    )
