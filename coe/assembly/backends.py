"""Which backend runs an expert: chosen once at start, by what the processor has, and named wherever experts are shown.

Owns the choice and the models built from it, one per architecture and arithmetic: experts of one shape differ only in
pointers. The speeds behind the choice are in docs/decisions/backends.md.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

import torch

from coe.assembly.processor import Processor
from coe.errors import ConfigError, WeightsError
from coe.models.cpu.compiled_llama import MATRIX_FORMATS, CompiledLlama
from coe.models.cpu.decode import CompiledLayers
from coe.models.cuda.cuda_llama import CudaLlama
from coe.models.cuda.graphs import DecodeGraphs
from coe.models.cuda.paged_kv import KvPages, PagedStore, page_bytes_of
from coe.models.llama.model import kv_shape_of
from coe.models.llama.shape import LlamaShape
from coe.models.llama.torch_llama import TorchLlama
from coe.models.model import Model
from coe.models.pooled import PooledModel, Reading
from coe.models.transformers import TransformersModel
from coe.weights.unit import Manifest

__all__ = ["Backends", "Choice", "choose", "compiles", "share_pages"]

log = logging.getLogger("coe.assembly.backends")

_MATRIX = ("_proj.weight", "lm_head.weight", "embed_tokens.weight")
_NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}


@dataclass(frozen=True, slots=True)
class Choice:
    """How an expert is run. `shape` is None where transformers' modules run it; `rounds_prompts` as CompiledLlama has
    it."""

    kind: Literal["compiled", "cuda", "torch", "transformers"]
    shape: LlamaShape | None = None
    rounds_prompts: bool = False


def compiles(shape: LlamaShape, processor: Processor) -> bool:
    """Return whether compiled decode steps can run a shape here."""
    return processor.has_compiler and CompiledLayers.fits(shape.head_dim, shape.matmul_inputs)


def choose(expert: str, manifest: Manifest, processor: Processor, *, rounds_prompts: bool = False) -> Choice:
    """Return the backend of an imported expert; raises WeightsError where its weights' format cannot run here.

    `rounds_prompts` allows a compiled backend with bfloat16 matrices to multiply prompts in bfloat16.
    """
    shape = LlamaShape.of(manifest)
    is_compiled = (
        shape is not None
        and shape.dtype is torch.float32
        and processor.device.type == "cpu"
        and compiles(shape, processor)
    )
    if not is_compiled and len(_matrix_sizes(manifest).keys() | {_NAMES[shape.dtype]} if shape else ()) > 1:
        raise WeightsError(
            expert, f"it is stored as {manifest.dtype} matrices, which no backend of this machine multiplies"
        )
    if shape is None:
        return Choice("transformers")
    if is_compiled:
        return Choice("compiled", shape, rounds_prompts and _matrix_format(manifest) == "bf16")
    return Choice("cuda" if processor.has_pages else "torch", shape)


def share_pages(choices: Mapping[str, Choice], kv_bytes: int, processor: Processor) -> KvPages | None:
    """Return one buffer of pages for the KV of all experts; None, with a warning, where they cannot share one."""
    others = [name for name, choice in choices.items() if choice.shape is None]
    if others:
        log.warning(
            "every decode step runs eagerly: %s has another architecture than Llama's, and its KV no pages; serve it "
            "apart to have the others' steps captured",
            ", ".join(others),
        )
        return None
    shapes = [kv_shape_of(choice.shape, processor.device) for choice in choices.values() if choice.shape is not None]
    page_bytes = page_bytes_of(shapes)
    if page_bytes is None:
        log.warning("every decode step runs eagerly: the experts' KV has sizes that share no page; serve them apart")
        return None
    if kv_bytes < 2 * page_bytes:
        raise ConfigError(f"[engine] kv_bytes = {kv_bytes:,} is less than two blocks of {page_bytes:,} bytes; raise it")
    return KvPages(kv_bytes, page_bytes, processor.device)


class Backends:
    """Builds the model of each choice once. `pages` and `graphs` are a CUDA device's."""

    def __init__(self, processor: Processor, pages: KvPages | None = None, graphs: DecodeGraphs | None = None) -> None:
        self._processor, self._pages, self._graphs = processor, pages, graphs
        self._models: dict[str, Model] = {}
        self._pooled: dict[str, PooledModel] = {}

    def model_for(self, manifest: Manifest, choice: Choice) -> Model:
        """Return the model that runs this expert."""
        formats = _formats(manifest)
        facts = [manifest.config, sorted(formats), dict(manifest.tied), choice.kind, choice.rounds_prompts]
        key = json.dumps(facts, sort_keys=True)
        if key not in self._models:
            self._models[key] = self._build(manifest, choice)
        return self._models[key]

    def pooled_for(self, manifest: Manifest, reading: Reading) -> PooledModel:
        """Return the model that makes vectors or scores with this expert."""
        facts = [manifest.config, sorted(_formats(manifest)), dict(manifest.tied), asdict(reading)]
        key = json.dumps(facts, sort_keys=True)
        if key not in self._pooled:
            self._pooled[key] = PooledModel(manifest, self._processor.device, reading)
        return self._pooled[key]

    def _build(self, manifest: Manifest, choice: Choice) -> Model:
        shape, device = choice.shape, self._processor.device
        if shape is None:
            return TransformersModel(manifest, device)
        if choice.kind == "compiled":
            matrices = _matrix_format(manifest)
            return CompiledLlama(shape, manifest.config, matrices, rounds_prompts=choice.rounds_prompts)
        if choice.kind == "cuda" and self._pages is not None:
            store = PagedStore(self._pages, kv_shape_of(shape, device))
            return CudaLlama(shape, manifest.config, device, store, self._graphs)
        return TorchLlama(shape, manifest.config, device)


def _formats(manifest: Manifest) -> set[str]:
    return {spec.dtype for unit in manifest.units for spec in unit.tensors}


def _matrix_format(manifest: Manifest) -> str:
    """Return the format of most of the matrices' bytes."""
    sizes = _matrix_sizes(manifest)
    return MATRIX_FORMATS[max(sizes, key=lambda dtype: sizes[dtype])]


def _matrix_sizes(manifest: Manifest) -> dict[str, int]:
    """Return the bytes of matrices by their format."""
    sizes: dict[str, int] = {}
    for unit in manifest.units:
        for spec in unit.tensors:
            if spec.name.endswith(_MATRIX):
                sizes[spec.dtype] = sizes.get(spec.dtype, 0) + spec.size_bytes
    return sizes
