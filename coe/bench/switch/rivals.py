"""What one would do without coe: open the model anew. transformers' `from_pretrained`, and llama.cpp when it is there.

Each opener returns seconds until the weights are usable and until the first token, page cache warm, nothing kept
between runs.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch

from coe.bench.harness import in_turns, synchronize
from coe.bench.switch.case import Case
from coe.weights.store.checkpoint import weight_files

__all__ = ["Rival", "measure_rivals"]


class Opened(NamedTuple):
    ready_s: float
    first_token_s: float
    token_id: int


class Rival(NamedTuple):
    """A row of the table, and the first token of every run."""

    case: Case
    token_ids: list[int]

    @classmethod
    def of(cls, name: str, opened: Sequence[Opened]) -> Rival:
        ready_s, first_token_s = [each.ready_s for each in opened], [each.first_token_s for each in opened]
        return cls(Case(name, ready_s=ready_s, first_token_s=first_token_s), [each.token_id for each in opened])


def measure_rivals(
    folder: Path, token_ids: tuple[int, ...], dtype: str, device: str, ggufs: Sequence[Path], num_rounds: int
) -> list[Rival]:
    """Open a checkpoint's model anew: transformers at our precision and in bfloat16, llama.cpp for each GGUF."""
    openers: dict[str, Callable[[], Opened]] = {
        f"transformers from_pretrained, {name}": partial(open_with_transformers, folder, token_ids, name, device)
        for name in dict.fromkeys((dtype, "bfloat16"))
    }
    build = partial(build_with_safetensors, folder, token_ids, dtype, device)
    openers[f"safetensors load_file + build, {dtype}"] = build
    for file in ggufs:
        if find_spec("llama_cpp") is None:
            print(f"left out: llama.cpp on {file.name} (llama-cpp-python is not installed)")
        else:
            openers[f"llama.cpp, {file.stem}"] = partial(open_with_llama_cpp, file, token_ids, os.cpu_count() or 1)
    return [Rival.of(name, opened) for name, opened in in_turns(openers, num_rounds).items()]


def open_with_transformers(folder: Path, token_ids: tuple[int, ...], dtype: str, device: str) -> Opened:
    """`from_pretrained` in the given dtype, to the GPU if that is where it runs, then one greedy token."""
    from transformers import AutoModelForCausalLM

    started_s = time.perf_counter()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype), local_files_only=True).eval()
    model.to(device)
    synchronize(torch.device(device))
    ready_s = time.perf_counter() - started_s
    token_id = _greedy_token(model, token_ids, device)
    first_token_s = time.perf_counter() - started_s
    del model
    gc.collect()
    return Opened(ready_s, first_token_s, token_id)


def build_with_safetensors(folder: Path, token_ids: tuple[int, ...], dtype: str, device: str) -> Opened:
    """`safetensors.torch.load_file` and a module built around it by hand, then one greedy token."""
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModelForCausalLM

    started_s = time.perf_counter()
    wanted = getattr(torch, dtype)
    files = weight_files(folder)
    tensors = {name: tensor.to(wanted) for file in files for name, tensor in load_file(file, device=device).items()}
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=wanted)
    model.load_state_dict(tensors, assign=True, strict=False)
    model.tie_weights()
    for module in model.modules():
        for name, buffer in module._buffers.items():
            if buffer is not None and buffer.is_meta:
                module._buffers[name] = torch.empty_like(buffer, device=device)
                model._init_weights(module)
    synchronize(torch.device(device))
    ready_s = time.perf_counter() - started_s
    token_id = _greedy_token(model.eval(), token_ids, device)
    return Opened(ready_s, time.perf_counter() - started_s, token_id)


def open_with_llama_cpp(file: Path, token_ids: tuple[int, ...], num_threads: int) -> Opened:
    """llama.cpp's `Llama` on a GGUF, then one greedy token."""
    import llama_cpp

    started_s = time.perf_counter()
    model = llama_cpp.Llama(
        str(file), n_ctx=512, n_batch=512, n_threads=num_threads, n_threads_batch=num_threads, verbose=False
    )
    ready_s = time.perf_counter() - started_s
    model.eval(list(token_ids))
    token_id = int(model.sample(temp=0.0))
    first_token_s = time.perf_counter() - started_s
    model.close()
    return Opened(ready_s, first_token_s, token_id)


def _greedy_token(model: Any, token_ids: tuple[int, ...], device: str) -> int:
    with torch.inference_mode():
        logits = model(torch.tensor([token_ids], device=device), use_cache=True, logits_to_keep=1).logits
    return int(logits[0, -1].argmax())
