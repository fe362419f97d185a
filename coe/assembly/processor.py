"""The processor or device that experts run on, as the facts that decide which backend is fastest there.

Read once at start; below assembly no part asks what the processor has.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

import torch

from coe.errors import ConfigError
from coe.models.matmul import int8_is_exact

__all__ = ["Processor", "choose_device", "processor_of"]


@dataclass(frozen=True, slots=True)
class Processor:
    """Facts about where experts run.

    `has_compiler`: numba is installed (the extra `cpu`), so decode steps can be compiled. `has_bfloat16`,
    `has_float16`: the processor multiplies these at full speed. `has_exact_int8`: int8 products do not overflow (VNNI).
    `has_pages`: KV is kept in pages and decode steps can be captured (CUDA).
    """

    device: torch.device
    has_compiler: bool = False
    has_bfloat16: bool = False
    has_float16: bool = False
    has_exact_int8: bool = False
    has_pages: bool = False


def choose_device(wanted: str) -> str:
    """Return cpu, cuda or emulated; raises ConfigError for a CUDA device that is not there."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError('[engine] device = "cuda": torch sees no CUDA device; write "auto" or "cpu"')
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted


def processor_of(device: str) -> Processor:
    """Return the facts for a device (cpu, cuda or emulated)."""
    if device == "cuda":
        return Processor(torch.device("cuda"), has_bfloat16=True, has_float16=True, has_pages=True)
    return Processor(
        torch.device("cpu"),
        has_compiler=find_spec("numba") is not None,
        has_bfloat16=bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()),
        has_float16=bool(torch.cpu._is_amx_fp16_supported()),
        has_exact_int8=int8_is_exact(),
    )
