"""llama.cpp as a contender, through llama-cpp-python's low-level calls: parallel sequences in one context.

Optional: imported only where llama-cpp-python is installed. Files at other precisions are made once
from the one that is named, with llama.cpp's own quantiser, and lie beside it.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Sequence as Rows
from functools import cache
from pathlib import Path
from typing import Any

from coe.bench.engine.contender import Trace

__all__ = ["KINDS", "LlamaCpp", "gguf_at"]

KINDS = {"float32": "F32", "bfloat16": "BF16", "float16": "F16", "int8": "Q8_0"}  # ours -> llama.cpp's
_FTYPES = {"F32": "ALL_F32", "BF16": "MOSTLY_BF16", "F16": "MOSTLY_F16", "Q8_0": "MOSTLY_Q8_0"}
_UBATCH = 512  # tokens in one pass; the engine's own max_step_tokens


class LlamaCpp:
    """One open model; a context of its own for every run, made before the clock starts."""

    def __init__(self, file: Path, num_threads: int) -> None:
        import llama_cpp

        self._lib, self._num_threads = llama_cpp, num_threads
        _silence()
        self._model = llama_cpp.llama_model_load_from_file(str(file).encode(), llama_cpp.llama_model_default_params())
        if not self._model:
            raise RuntimeError(f"llama.cpp cannot open {file}; fetch it again or name another --gguf")
        self._vocab_size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))
        self.name = f"llama.cpp, {file.stem.rpartition('.')[2]}"

    def run(self, prompts: Rows[list[int]], num_tokens: int) -> Trace:
        context = self._context(len(prompts), len(prompts[0]) + num_tokens)
        batch = self._lib.llama_batch_init(max(_UBATCH, len(prompts)), 0, 1)
        try:
            return self._generate(context, batch, prompts, num_tokens)
        finally:
            self._lib.llama_batch_free(batch)
            self._lib.llama_free(context)

    def close(self) -> None:
        self._lib.llama_model_free(self._model)

    def _context(self, num_sequences: int, length: int) -> Any:
        params = self._lib.llama_context_default_params()
        params.n_seq_max = num_sequences
        params.n_ctx = num_sequences * (-(-length // 256) * 256)
        params.n_batch = max(_UBATCH, num_sequences)
        params.n_ubatch = _UBATCH
        params.n_threads = params.n_threads_batch = self._num_threads
        context = self._lib.llama_init_from_model(self._model, params)
        if not context:
            raise RuntimeError(f"llama.cpp has no room for {num_sequences} x {length} tokens")
        return context

    def _generate(self, context: Any, batch: Any, prompts: Rows[list[int]], num_tokens: int) -> Trace:
        trace = Trace([[] for _ in prompts], [[] for _ in prompts])
        started_s = time.monotonic()
        waiting = [(token, at, row) for row, prompt in enumerate(prompts) for at, token in enumerate(prompt)]
        for start in range(0, len(waiting), _UBATCH):  # as full as they get, across sequences
            tokens = waiting[start : start + _UBATCH]
            ends = [index for index, (_, at, row) in enumerate(tokens) if at == len(prompts[row]) - 1]
            found = self._decode(context, batch, tokens, ends)
            self._book(trace, [tokens[index][2] for index in ends], found, started_s)
        rows = list(range(len(prompts)))
        for step in range(1, num_tokens):
            tokens = [(trace.token_ids[row][-1], len(prompts[row]) + step - 1, row) for row in rows]
            self._book(trace, rows, self._decode(context, batch, tokens, rows), started_s)
        return trace

    def _decode(self, context: Any, batch: Any, tokens: Rows[tuple[int, int, int]], wanted: Rows[int]) -> list[int]:
        """One pass over (token, position, sequence) triples; the greedy token after each wanted one."""
        import numpy

        batch.n_tokens = len(tokens)
        for index, (token, position, row) in enumerate(tokens):
            batch.token[index], batch.pos[index] = token, position
            batch.n_seq_id[index], batch.seq_id[index][0] = 1, row
            batch.logits[index] = 0
        for index in wanted:
            batch.logits[index] = 1
        if self._lib.llama_decode(context, batch) != 0:
            raise RuntimeError(f"llama_decode failed on {len(tokens)} tokens")
        size = self._vocab_size
        pointers = (self._lib.llama_get_logits_ith(context, index) for index in wanted)
        return [int(numpy.ctypeslib.as_array(pointer, (size,)).argmax()) for pointer in pointers]

    @staticmethod
    def _book(trace: Trace, rows: Rows[int], found: Rows[int], started_s: float) -> None:
        now_s = time.monotonic() - started_s
        for row, token in zip(rows, found, strict=True):
            trace.token_ids[row].append(token)
            trace.token_s[row].append(now_s)


@cache
def _silence() -> Any:
    """Let llama.cpp say nothing; what is returned must live as long as the library."""
    import llama_cpp

    quiet = llama_cpp.llama_log_callback(lambda *_: None)
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    return quiet


def gguf_at(file: Path, kind: str) -> Path:
    """The same model at another precision (F32, BF16, F16, Q8_0), made beside `file` when it is not there."""
    import llama_cpp

    target = file.with_name(f"{file.stem.rpartition('.')[0]}.{kind}.gguf")
    if target.is_file():
        return target
    _silence()
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_{_FTYPES[kind]}")
    params.allow_requantize = True
    params.nthread = os.cpu_count() or 1
    half = target.with_suffix(".part")
    if llama_cpp.llama_model_quantize(str(file).encode(), str(half).encode(), ctypes.byref(params)) != 0:
        raise RuntimeError(f"llama.cpp cannot turn {file} into {kind}")
    half.replace(target)
    return target
