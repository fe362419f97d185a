"""transformers as contenders: `generate` on a batch, and continuous batching with its own paged cache."""

from __future__ import annotations

import time
from collections.abc import Sequence as Rows
from pathlib import Path
from typing import Any

import torch

from coe.bench.engine.contender import Trace

__all__ = ["TransformersBatching", "TransformersGenerate", "open_with_transformers"]

_BLOCK_TOKENS = 256  # of transformers' paged cache


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
            return torch.zeros(len(prompts), dtype=torch.bool)  # no sequence has ended

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


def open_with_transformers(folder: Path, dtype: str) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype), local_files_only=True).eval()
