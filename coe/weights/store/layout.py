"""The layout of a model: which of its parameters go into which unit, and at which offset of the unit's bytes.

The parameters come from transformers' own class on the meta device, so that every decoder which transformers knows can
be laid out. Knows nothing about files or values.
"""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from coe.errors import SourceError
from coe.weights.unit import ALIGNMENT, DTYPE_SIZES, SCALE, TensorSpec

__all__ = [
    "ModelKind",
    "ModelLayout",
    "Parameter",
    "UnitLayout",
    "build_model",
    "check_layers",
    "lay_out_model",
    "lay_out_unit",
    "padded_bytes",
]

ModelKind = Literal["chat", "embedding", "rerank"]

TENSOR_ALIGNMENT = 64  # bytes: a cache line, which satisfies every kernel

_LAYER = re.compile(r"(.+?)\.(\d+)\.")
# modules that run after the last layer; all others outside the layers run before the first
_FINAL = re.compile(
    r"^(score|classifier|pre_classifier)\.|(^|\.)pooler\.|(^|\.)(norm|norm_f|ln_f|final_norm|final_layer_?norm|project_out)\.[^.]+$"
)
# these tensors lie in this order without gaps, so that a fused projection is one view
_ADJACENT = (
    ("q_proj.weight", "k_proj.weight", "v_proj.weight"),
    ("q_proj.bias", "k_proj.bias", "v_proj.bias"),
    ("gate_proj.weight", "up_proj.weight"),
    ("gate_proj.bias", "up_proj.bias"),
)
# matrices whose dtype may differ: those of products, and the embedding, which is often tied to one
_MATRIX = re.compile(r"(_proj|lm_head|embed_tokens)\.weight$")
# what a checkpoint has on top of the states that vectors are made of
_HEADS = (r"^(\w+\.)?pooler\.", r"^lm_head\.", r"^cls\.", r"^(vocab_|qa_|score\.|classifier\.)", r"(^|\.)position_ids$")
# tensors of old checkpoints that today's models compute
_COMPUTED = (r"rotary_emb\.inv_freq$", r"\.attn\.(masked_)?bias$", r"\.attention\.(masked_)?bias$")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One tensor of the model. `is_float32`: transformers always stores and computes it in float32."""

    name: str
    shape: tuple[int, ...]
    is_float32: bool = False


@dataclass(frozen=True, slots=True)
class UnitLayout:
    """The parameters of one unit: of one stage of the forward pass."""

    name: str
    parameters: tuple[Parameter, ...]


@dataclass(frozen=True, slots=True)
class ModelLayout:
    """A model's units in execution order.

    `tied` maps a parameter without bytes of its own to the one whose bytes it uses. `ignored` are patterns of names
    that a checkpoint may have and the model has not. `prefix` is the part of every name that some checkpoints omit.
    """

    units: tuple[UnitLayout, ...]
    tied: Mapping[str, str]
    ignored: tuple[str, ...]
    prefix: str

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {parameter.name: parameter for unit in self.units for parameter in unit.parameters}


def check_layers(expert: str, config: Mapping[str, Any], num_tensors: int) -> None:
    """Raise SourceError for a config.json with more layers than its checkpoint has tensors.

    A layer takes time and memory to lay out even without weights, so this comes first.
    """
    for key in ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers"):
        value = config.get(key)
        if isinstance(value, int) and value > num_tensors:
            raise SourceError(
                expert,
                f"its config.json has {key} = {value:,} and its checkpoint {num_tensors} tensors; fetch both again",
            )


def lay_out_model(expert: str, config: Mapping[str, Any], kind: ModelKind = "chat") -> ModelLayout:
    """Return the layout of the model that this config.json describes: what transformers builds for its kind.

    Raises SourceError if transformers cannot build it, or if it keeps a state beside keys and values.
    """
    try:
        return _layout(json.dumps(config, sort_keys=True), kind)
    except _KeepsStateError as error:
        raise SourceError(expert, f"{error}; name a model whose layers all attend to keys and values") from None
    except Exception as error:  # third-party edge: each model class raises errors of its own
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise SourceError(
            expert, f"transformers cannot build a '{config.get('model_type')}' from its config.json: {reason[:400]}"
        ) from error


class _KeepsStateError(Exception):
    """A model that keeps more of its past than keys and values."""


@lru_cache(maxsize=64)
def _layout(config_json: str, kind: ModelKind) -> ModelLayout:
    import torch
    from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING

    raw = json.loads(config_json)
    config = CONFIG_MAPPING[raw["model_type"]].from_dict(raw)
    if kind == "chat":
        _check_stateless(raw["model_type"], MODEL_FOR_CAUSAL_LM_MAPPING[type(config)], config)
    with torch.device("meta"):
        model = build_model(kind, config)
    tied = dict(model.all_tied_weights_keys)
    strict = [re.compile(pattern) for pattern in model._keep_in_fp32_modules_strict or ()]
    parameters = [
        Parameter(name, tuple(tensor.shape), any(pattern.search(name) for pattern in strict))
        for name, tensor in model.state_dict().items()
        if name not in tied
    ]
    ignored = (*_COMPUTED, *(model._keys_to_ignore_on_load_unexpected or ()), *(_HEADS if kind == "embedding" else ()))
    output_name = _output_name(model) if kind == "chat" else None
    return ModelLayout(tuple(_units(parameters, output_name)), tied, ignored, model.base_model_prefix)


def build_model(kind: ModelKind, config: Any) -> Any:
    """Return transformers' model for an expert of this kind, on the device of the context.

    One that gives token states is built without a pooling layer of its own, which sentence encoders do not use.
    """
    from transformers import MODEL_MAPPING, AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification

    if kind == "chat":
        return AutoModelForCausalLM.from_config(config)
    if kind == "rerank":
        return AutoModelForSequenceClassification.from_config(config)
    has_pooler = "add_pooling_layer" in inspect.signature(MODEL_MAPPING[type(config)]).parameters
    return AutoModel.from_config(config, **({"add_pooling_layer": False} if has_pooler else {}))


def _check_stateless(model_type: str, model: Any, config: Any) -> None:
    """Raise _KeepsStateError for a model whose past is more or other than each sequence's keys and values.

    A state lives in the modules, where concurrent requests would mix, or cannot be continued by a prompt's next piece
    or taken back. transformers says so by `_is_stateful`, by the layers of the model's own cache, or by a forward pass
    without `past_key_values`.
    """
    from transformers import DynamicCache
    from transformers.cache_utils import LinearAttentionCacheLayerMixin

    takes_kv = "past_key_values" in inspect.signature(model.forward).parameters
    is_stateful = model._is_stateful
    if takes_kv and not is_stateful:
        layers = DynamicCache(config=config).layers
        is_stateful = any(isinstance(layer, LinearAttentionCacheLayerMixin) for layer in layers)
    if is_stateful:
        raise _KeepsStateError(f"a '{model_type}' keeps a recurrent state, which coe can neither batch nor evict")
    if not takes_kv or not model._supports_default_dynamic_cache():
        raise _KeepsStateError(f"a '{model_type}' keeps its past in no cache of keys and values, so coe cannot run it")


def _output_name(model: Any) -> str | None:
    """Return the name of the module that makes logits."""
    output = model.get_output_embeddings()
    return next((name for name, module in model.named_modules() if module is output), None) if output else None


def _units(parameters: list[Parameter], output_name: str | None) -> Iterator[UnitLayout]:
    prefix, num_layers = _layer_list(parameters)
    groups: dict[str, list[Parameter]] = {"embed": []}
    groups |= {f"layer.{index}": [] for index in range(num_layers)} | {"head": []}
    for parameter in parameters:
        match = _LAYER.match(parameter.name)
        if match and match[1] == prefix:
            groups[f"layer.{match[2]}"].append(parameter)
        elif (output_name and parameter.name.startswith(f"{output_name}.")) or _FINAL.search(parameter.name):
            groups["head"].append(parameter)
        else:
            groups["embed"].append(parameter)
    return (UnitLayout(name, tuple(group)) for name, group in groups.items())


def _layer_list(parameters: list[Parameter]) -> tuple[str, int]:
    """Return the name and length of the numbered module list that holds most of the model."""
    sizes: dict[str, int] = {}
    indices: dict[str, set[int]] = {}
    for parameter in parameters:
        if match := _LAYER.match(parameter.name):
            sizes[match[1]] = sizes.get(match[1], 0) + math.prod(parameter.shape)
            indices.setdefault(match[1], set()).add(int(match[2]))
    if not sizes:
        raise ValueError("it has no list of layers")
    prefix = max(sizes, key=lambda name: sizes[name])
    if indices[prefix] != set(range(len(indices[prefix]))):
        raise ValueError(f"its layers {prefix} are not numbered without gaps")
    return prefix, len(indices[prefix])


def lay_out_unit(
    parameters: Iterable[Parameter], dtype: str, matrix_dtype: Callable[[Collection[str]], str] | None = None
) -> tuple[TensorSpec, ...]:
    """Return the dtype and offset of each tensor of a unit; `dtype` has safetensors' name.

    Tensors start at multiples of TENSOR_ALIGNMENT, except inside a group that lies adjacent on purpose. `matrix_dtype`
    returns another dtype for the matrices of a group, given their names. int8 matrices have a float32 scale per row;
    the scales of a group follow its matrices and are adjacent too.
    """
    left = {parameter.name: parameter for parameter in parameters}
    specs: list[TensorSpec] = []
    end = 0
    while left:
        group = [left.pop(name) for name in _adjacent_to(next(iter(left)), left)]
        kind = dtype
        if matrix_dtype is not None and all(_MATRIX.search(parameter.name) for parameter in group):
            kind = matrix_dtype([parameter.name for parameter in group])
        values = [
            (parameter.name, "F32" if parameter.is_float32 and kind != "I8" else kind, parameter.shape)
            for parameter in group
        ]
        scales = [(parameter.name + SCALE, "F32", parameter.shape[:1]) for parameter in group if kind == "I8"]
        for run in (values, scales):
            end = -(-end // TENSOR_ALIGNMENT) * TENSOR_ALIGNMENT
            for name, kind, shape in run:
                specs.append(TensorSpec(name, kind, shape, end))
                end += specs[-1].size_bytes
    return tuple(specs)


def padded_bytes(specs: Iterable[TensorSpec]) -> int:
    """Return the size of a unit with these tensors: a multiple of ALIGNMENT, at least one."""
    end = max((spec.offset + spec.size_bytes for spec in specs), default=1)
    return -(-end // ALIGNMENT) * ALIGNMENT


def _adjacent_to(name: str, left: Mapping[str, Parameter]) -> list[str]:
    """Return the names of the adjacent group that `name` belongs to, in order; `name` alone if some are missing."""
    for suffixes in _ADJACENT:
        for suffix in suffixes:
            if name.endswith(suffix):
                group = [name.removesuffix(suffix) + other for other in suffixes]
                if all(other in left for other in group) and _is_fusible([left[other] for other in group]):
                    return group
    return [name]


def _is_fusible(group: list[Parameter]) -> bool:
    return len({(parameter.shape[1:], parameter.is_float32) for parameter in group}) == 1


assert TENSOR_ALIGNMENT % max(DTYPE_SIZES.values()) == 0
