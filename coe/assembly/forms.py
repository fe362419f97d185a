"""The form in which an expert's weights are stored: what `dtype = "auto"` and `weights = …` mean on this processor.

Decided before an import, from descriptions alone (config.json, parameter names, the checkpoint's main dtype). What was
measured on each kind of processor is in docs/decisions/backends.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from coe.assembly.backends import compiles
from coe.assembly.processor import Processor
from coe.config.catalog import ExpertSpec
from coe.errors import WeightsError
from coe.models.llama.shape import LlamaShape, is_llama
from coe.sources.json_files import json_object
from coe.weights.store.checkpoint import Checkpoint, weight_files
from coe.weights.store.importer import StoredForm
from coe.weights.store.layout import check_layers, lay_out_model

__all__ = ["form_for", "rounds_prompts", "stored_form"]

_COMPUTED = "rotary_emb.inv_freq"  # in old checkpoints; models compute it


def stored_form(spec: ExpertSpec, processor: Processor) -> StoredForm:
    """Return the form for one expert; raises SourceError or WeightsError where it cannot be read or run here."""
    config = json_object(spec.name, spec.folder / "config.json")
    with Checkpoint(spec.name, weight_files(spec.name, spec.folder)) as checkpoint:
        check_layers(spec.name, config, len(checkpoint.names))
        lay_out_model(spec.name, config, spec.kind)  # transformers' own checks of the configuration
        tensors = [name for name in checkpoint.names if not name.endswith(_COMPUTED)]
        return form_for(spec, config, tensors, checkpoint.main_dtype, processor)


def form_for(
    spec: ExpertSpec, config: Mapping[str, Any], tensors: Iterable[str], stored: str, processor: Processor
) -> StoredForm:
    """Return the form for an expert whose checkpoint has these tensors, mostly in `stored` (safetensors' name)."""
    shape = LlamaShape.read(config, torch.float32) if spec.kind == "chat" and is_llama(config, tensors) else None
    if spec.weights != "full":
        _check_runs(spec, shape, processor)
        return StoredForm("float32", spec.weights)
    if spec.dtype != "auto":
        return StoredForm(spec.dtype)
    is_compiled = shape is not None and processor.device.type == "cpu" and compiles(shape, processor)
    if stored == "BF16" and is_compiled:
        # decode reads bfloat16 matrices and computes in float32; rounding what an adapter changes to bfloat16 is what a
        # processor with native bfloat16 would do to every activation
        return StoredForm("float32", "bfloat16" if processor.has_bfloat16 else "kept-bfloat16")
    if stored == "BF16" and processor.has_bfloat16:
        return StoredForm("bfloat16")
    if stored == "F16" and processor.has_float16:
        return StoredForm("float16")
    return StoredForm("float32")


def rounds_prompts(spec: ExpertSpec, processor: Processor) -> bool:
    """Return whether the expert's prompts may be multiplied in bfloat16: where it is fast and no dtype is named.

    Measured on AMD Zen 4: prompts are 1.9 to 2.7 times as fast, and as exact as torch's bfloat16 modules or better.
    """
    return processor.has_bfloat16 and spec.dtype == "auto" and spec.weights == "full"


def _check_runs(spec: ExpertSpec, shape: LlamaShape | None, processor: Processor) -> None:
    """Raise WeightsError if no backend here multiplies matrices in the format that the expert asks for."""
    if shape is None:
        why = f"its architecture runs through transformers' modules, which know no {spec.weights} matrices"
    elif processor.device.type != "cpu":
        why = f"{spec.weights} matrices run on the CPU only so far"
    elif not processor.has_compiler:
        why = "it needs numba (pip install 'coe-serve[cpu]')"
    elif not compiles(shape, processor):
        why = f"its sizes {shape.head_dim} and {shape.matmul_inputs} are not multiples of 16 and 32"
    elif spec.weights == "int8" and not processor.has_exact_int8:
        why = "this processor's int8 products overflow (it has no VNNI)"
    else:
        return
    raise WeightsError(spec.name, f'weights = "{spec.weights}" cannot be used: {why}; write weights = "full"')
