"""What one would do without coe: open the model anew. transformers' `from_pretrained`, and llama.cpp when it is there.

Each returns seconds until the weights are usable and until the first token, page cache warm, nothing kept between runs.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from coe.weights.store.checkpoint import weight_files

__all__ = ["Opened", "build_with_safetensors", "llama_cpp_opener", "open_with_transformers"]


class Opened(NamedTuple):
    ready_s: float
    first_token_s: float
    token_id: int


def open_with_transformers(folder: Path, token_ids: tuple[int, ...], dtype: str, device: str = "cpu") -> Opened:
    """`from_pretrained` in the given dtype, to the GPU if that is where it runs, then one greedy token."""
    from transformers import AutoModelForCausalLM

    started_s = time.perf_counter()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype), local_files_only=True).eval()
    model.to(device)
    _wait_for(device)
    ready_s = time.perf_counter() - started_s
    with torch.inference_mode():
        logits = model(torch.tensor([token_ids], device=device), use_cache=True, logits_to_keep=1).logits
    token_id = int(logits[0, -1].argmax())
    first_token_s = time.perf_counter() - started_s
    del model
    gc.collect()
    return Opened(ready_s, first_token_s, token_id)


def build_with_safetensors(folder: Path, token_ids: tuple[int, ...], dtype: str, device: str = "cpu") -> Opened:
    """`safetensors.torch.load_file` and a module built around it by hand, then one greedy token."""
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModelForCausalLM

    started_s = time.perf_counter()
    wanted = getattr(torch, dtype)
    files = weight_files(folder.name, folder)
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
    _wait_for(device)
    ready_s = time.perf_counter() - started_s
    with torch.inference_mode():
        logits = model.eval()(torch.tensor([token_ids], device=device), use_cache=True, logits_to_keep=1).logits
    token_id = int(logits[0, -1].argmax())
    return Opened(ready_s, time.perf_counter() - started_s, token_id)


def _wait_for(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def llama_cpp_opener(file: Path, num_threads: int) -> Callable[[tuple[int, ...]], Opened] | None:
    """A function that opens `file` in llama.cpp and gives one greedy token; None without llama-cpp-python."""
    try:
        import llama_cpp
    except ImportError:
        return None

    def open_it(token_ids: tuple[int, ...]) -> Opened:
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

    return open_it
