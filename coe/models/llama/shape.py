"""The numbers of a Llama-shaped decoder, and which models have that shape.

Covered: Llama 2/3, SmolLM2/3, Mistral, Qwen2/2.5, Qwen3: qkv bias, q/k norm, grouped-query attention, tied embeddings,
any rotary scaling that is a constant table, layers without rotary embedding, Mistral's sliding window. Not covered, and
run by `transformers.py`: windows in some layers only, biases elsewhere, partial rotary embedding, mixtures of experts,
activations other than SiLU. Knows nothing about weights' bytes or arithmetic.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch

from coe.weights.unit import SCALE, Manifest

__all__ = ["TORCH_DTYPES", "LlamaShape", "is_llama"]

TORCH_DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16, "I8": torch.int8}  # safetensors'

_FAMILY = {"llama", "mistral", "qwen2", "qwen3", "smollm3"}
_NEEDED = {"num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size", "rms_norm_eps"}
_NEEDED |= {"max_position_embeddings"}
_PREFIX = re.compile(r"^model\.(layers\.\d+\.)?")
_TENSORS = {"embed_tokens.weight", "norm.weight", "lm_head.weight"}
_TENSORS |= {"input_layernorm.weight", "post_attention_layernorm.weight"}
_TENSORS |= {f"self_attn.{name}.{kind}" for name in ("q_proj", "k_proj", "v_proj") for kind in ("weight", "bias")}
_TENSORS |= {f"self_attn.{name}.weight" for name in ("o_proj", "q_norm", "k_norm")}
_TENSORS |= {f"mlp.{name}.weight" for name in ("gate_proj", "up_proj", "down_proj")}


def is_llama(config: Mapping[str, Any], parameters: Iterable[str]) -> bool:
    """Return whether a model with this config.json and these parameter names has Llama's shape.

    Every parameter must be one that the forward pass uses: leaving one out (a bias of o_proj) would be a wrong answer.
    """
    if config.get("model_type") not in _FAMILY or not config.keys() >= _NEEDED or not _is_covered(config):
        return False
    return all(_PREFIX.sub("", name) in _TENSORS for name in parameters)


@dataclass(frozen=True, slots=True)
class LlamaShape:
    """The numbers of a Llama-shaped decoder. `dtype` is that of activations, keys and values."""

    num_layers: int
    hidden_size: int
    intermediate_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    norm_eps: float
    max_positions: int
    dtype: torch.dtype
    window: int | None = None  # tokens that a token sees, itself included; None: all before it
    unrotated: frozenset[int] = frozenset()  # layers without rotary embedding

    @classmethod
    def of(cls, manifest: Manifest) -> Self | None:
        """Return the shape of an imported expert, None if it does not have Llama's."""
        specs = [spec for unit in manifest.units for spec in unit.tensors]
        if not is_llama(manifest.config, (spec.name.removesuffix(SCALE) for spec in specs)):
            return None
        norm = next(spec for spec in manifest.units[-1].tensors if spec.name.endswith("norm.weight"))
        return cls.read(manifest.config, TORCH_DTYPES[norm.dtype])

    @classmethod
    def read(cls, config: Mapping[str, Any], dtype: torch.dtype) -> Self:
        """Return the shape that the config.json of such a model describes."""
        num_heads = config["num_attention_heads"]
        return cls(
            num_layers=config["num_hidden_layers"],
            hidden_size=config["hidden_size"],
            intermediate_size=config["intermediate_size"],
            num_heads=num_heads,
            num_kv_heads=config.get("num_key_value_heads") or num_heads,
            head_dim=config.get("head_dim") or config["hidden_size"] // num_heads,
            norm_eps=config["rms_norm_eps"],
            max_positions=config["max_position_embeddings"],
            dtype=dtype,
            window=_window(config) if config["model_type"] == "mistral" else None,
            unrotated=_unrotated(config),
        )

    @property
    def matmul_inputs(self) -> tuple[int, int, int]:
        """Inputs of the projections qkv, out and down."""
        return self.hidden_size, self.num_heads * self.head_dim, self.intermediate_size


def _is_covered(config: Mapping[str, Any]) -> bool:
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    return (
        config.get("hidden_act", "silu") == "silu"
        and (config["model_type"] == "mistral" or _window(config) is None)
        and kind in {"default", "linear", "llama3", "yarn"}
        and scaling.get("partial_rotary_factor", 1.0) == 1.0
    )


def _window(config: Mapping[str, Any]) -> int | None:
    """Return the sliding window if a whole context does not fit into it."""
    size: int | None = config.get("sliding_window") if config.get("use_sliding_window", True) else None
    return size if size is not None and size < config["max_position_embeddings"] else None


def _unrotated(config: Mapping[str, Any]) -> frozenset[int]:
    """Return SmolLM3's layers without rotary embedding: every fourth, or those that config.json lists with a 0."""
    if config["model_type"] != "smollm3":
        return frozenset()
    num_layers, interval = config["num_hidden_layers"], config.get("no_rope_layer_interval", 4)
    rotated = config.get("no_rope_layers") or [int((index + 1) % interval != 0) for index in range(num_layers)]
    return frozenset(index for index, is_rotated in enumerate(rotated) if not is_rotated)
