"""The fields of a model's and an adapter's JSON files that coe computes with, and what each of them must be.

config.json is checked by transformers' own classes too, when they are built; here are the fields that every
architecture shares and those that transformers lets pass. A field that is wrong is named with its value and what was
expected. Knows nothing about tensors: that numbers and tensors agree is the importer's check.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from coe.config.toml_fields import as_written
from coe.errors import SourceError

__all__ = ["check_adapter_config", "check_config", "check_generation_config"]

MOST = 2**31 - 1
MOST_LAYERS = 10_000
MOST_POSITIONS = 2**24  # some classes make tables of them; the longest context known has 10 million tokens


class _Kind(NamedTuple):
    """What a value must be, in words and as a test."""

    words: str
    holds: Callable[[Any], bool]


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_rope(value: Any) -> bool:
    """Return whether the parameters of a rotary embedding, perhaps an object for each kind of layer, are numbers."""
    if not isinstance(value, dict):
        return False
    factor, kinds = value.get("factor"), [value.get(key) for key in ("rope_type", "type")]
    return (
        (factor is None or (_is_real(factor) and factor > 0))
        and all(kind is None or isinstance(kind, str) for kind in kinds)
        and all(_is_rope_value(each) for key, each in value.items() if key not in ("rope_type", "type"))
    )


def _is_rope_value(value: Any) -> bool:
    if isinstance(value, dict):
        return _is_rope(value)
    numbers = value if isinstance(value, list) else [value]
    return all(number is None or isinstance(number, bool) or _is_real(number) for number in numbers)


def _whole(least: int, most: int = MOST) -> _Kind:
    return _Kind(
        f"a whole number from {least:,} to {most:,}", lambda value: _is_whole(value) and least <= value <= most
    )


def _real(least: float, most: float = math.inf) -> _Kind:
    bounds = f"from {least:g}" + ("" if most == math.inf else f" to {most:g}")
    return _Kind(f"a number {bounds}", lambda value: _is_real(value) and least <= value <= most)


def _or_null(kind: _Kind) -> _Kind:
    return _Kind(f"{kind.words}, or null", lambda value: value is None or kind.holds(value))


def _or_list(kind: _Kind) -> _Kind:
    def holds(value: Any) -> bool:
        return all(map(kind.holds, value)) if isinstance(value, list) else kind.holds(value)

    return _Kind(f"{kind.words}, or a list of them", holds)


_COUNT = _whole(1)
_ABOVE_ZERO = _Kind("a number above 0", lambda value: _is_real(value) and value > 0)
_SCALE = _Kind("a number other than 0", lambda value: _is_real(value) and value != 0)
_FLAG = _or_null(_Kind("true or false", lambda value: isinstance(value, bool)))
_TEXT = _Kind("a text", lambda value: isinstance(value, str) and bool(value))
_ROPE = _or_null(_Kind("an object of finite numbers and texts, with a factor above 0", lambda value: _is_rope(value)))
_END_TOKENS = _or_null(_or_list(_whole(0)))
_TOKENS = _or_null(_or_list(_whole(-1)))  # some configurations write -1 for none

_CONFIG: Mapping[str, _Kind] = {
    "model_type": _TEXT,
    "architectures": _or_null(
        _Kind("a list of texts", lambda value: isinstance(value, list) and all(map(_TEXT.holds, value)))
    ),
    **dict.fromkeys(("hidden_size", "vocab_size", "n_embd", "n_head"), _COUNT),
    **dict.fromkeys(("max_position_embeddings", "n_positions"), _whole(1, MOST_POSITIONS)),
    **dict.fromkeys(("max_seq_len", "n_ctx", "seq_length"), _or_null(_whole(1, MOST_POSITIONS))),
    "num_attention_heads": _or_list(_COUNT),
    **dict.fromkeys(("intermediate_size", "num_key_value_heads", "head_dim"), _or_null(_or_list(_COUNT))),
    **dict.fromkeys(("num_hidden_layers", "n_layer"), _whole(1, MOST_LAYERS)),
    "eos_token_id": _END_TOKENS,
    **dict.fromkeys(("bos_token_id", "pad_token_id"), _TOKENS),
    **dict.fromkeys(("rope_scaling", "rope_parameters"), _ROPE),
    **dict.fromkeys(("tie_word_embeddings", "use_sliding_window", "is_encoder_decoder"), _FLAG),
    **dict.fromkeys(("rms_norm_eps", "rope_theta"), _or_null(_ABOVE_ZERO)),
    "sliding_window": _or_null(_whole(0)),
    "no_rope_layers": _or_null(_Kind("a list", lambda value: isinstance(value, list))),
    "no_rope_layer_interval": _or_null(_COUNT),
    "hidden_act": _TEXT,
    "num_experts_per_tok": _or_null(_COUNT),
}
_GENERATION: Mapping[str, _Kind] = {
    "eos_token_id": _END_TOKENS,
    **dict.fromkeys(("bos_token_id", "pad_token_id"), _TOKENS),
    "do_sample": _FLAG,
    "temperature": _or_null(_real(0)),
    "top_p": _or_null(_real(0, 1)),
    "top_k": _or_null(_whole(0)),
    "min_p": _or_null(_real(0, 1)),
    "repetition_penalty": _or_null(_ABOVE_ZERO),
}
_ADAPTER: Mapping[str, _Kind] = {
    "peft_type": _TEXT,
    "r": _COUNT,
    "lora_alpha": _SCALE,
    "rank_pattern": _or_null(
        _Kind(
            "an object of whole numbers",
            lambda value: isinstance(value, dict) and all(map(_COUNT.holds, value.values())),
        )
    ),
    **dict.fromkeys(("use_rslora", "fan_in_fan_out"), _FLAG),
    **dict.fromkeys(
        ("base_model_name_or_path", "revision"), _or_null(_Kind("a text", lambda value: isinstance(value, str)))
    ),
}
_NEEDED_OF_ADAPTER = ("r", "lora_alpha")


def check_config(expert: str, path: Path, config: Mapping[str, Any]) -> None:
    """Raise SourceError for the first field of a config.json that is not what it must be."""
    if "model_type" not in config:
        raise SourceError(expert, f"{path} has no model_type; fetch it again")
    _check(expert, path, config, _CONFIG)
    heads, kv_heads = config.get("num_attention_heads"), config.get("num_key_value_heads")
    if isinstance(heads, int) and isinstance(kv_heads, int) and heads % kv_heads:
        raise SourceError(
            expert,
            f"{path}: num_attention_heads = {heads} is not a multiple of num_key_value_heads = {kv_heads}; "
            "fetch it again",
        )


def check_generation_config(expert: str, path: Path, config: Mapping[str, Any]) -> None:
    """Raise SourceError for the first field of a generation_config.json that is not what it must be."""
    _check(expert, path, config, _GENERATION)


def check_adapter_config(expert: str, path: Path, config: Mapping[str, Any]) -> None:
    """Raise SourceError for the first field of a LoRA's adapter_config.json that is missing or not what it must be."""
    for key in _NEEDED_OF_ADAPTER:
        if key not in config:
            raise SourceError(expert, f"{path} has no {key}; {_ADAPTER[key].words} is needed: fetch it again")
    _check(expert, path, config, _ADAPTER)


def _check(expert: str, path: Path, fields: Mapping[str, Any], kinds: Mapping[str, _Kind]) -> None:
    for key, kind in kinds.items():
        if key in fields and not kind.holds(fields[key]):
            raise SourceError(
                expert, f"{path}: {key} = {as_written(fields[key])}: expected {kind.words}; fetch it again"
            )
