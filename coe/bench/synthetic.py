"""Models of real sizes with random weights, for machines that cannot download one: only their speed means anything.

Written tensor by tensor in files of bounded size, so that neither memory nor a file grows with the model. The same seed
gives the same bytes. Knows nothing about what is measured with them.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from coe.errors import ConfigError

__all__ = ["LLAMA_SHAPES", "write_llama"]

SHARD_BYTES = 1 << 30

# Llama 3.1 8B, Llama 3.2 1B, and one for tests
LLAMA_SHAPES: Mapping[str, Mapping[str, Any]] = {
    "8b": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
        "tie_word_embeddings": False,
    },
    "1b": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
        "tie_word_embeddings": True,
    },
    "tiny": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 1024,
        "tie_word_embeddings": False,
    },
}
_TOKENIZER_FILES = ("tokenizer*", "special_tokens_map.json", "vocab*", "merges.txt", "chat_template*")


def write_llama(folder: Path, shape_name: str, seed: int, *, tokenizer: Path) -> Path:
    """Write a Llama in bfloat16 with the tokenizer of another model's folder, if it is not there yet; return `folder`.

    Raises ConfigError for a shape that is not in LLAMA_SHAPES.
    """
    if shape_name not in LLAMA_SHAPES:
        raise ConfigError(f"there is no synthetic model '{shape_name}'; there are: {', '.join(LLAMA_SHAPES)}")
    config = {**_COMMON, **LLAMA_SHAPES[shape_name]}
    if (folder / "config.json").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    _write_weights(folder, config, torch.Generator().manual_seed(seed))
    for pattern in _TOKENIZER_FILES:
        for file in tokenizer.glob(pattern):
            shutil.copy(file, folder / file.name)
    (folder / "config.json").write_text(json.dumps(config, indent=1))  # last: a folder with it is whole
    return folder


_COMMON: Mapping[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "attention_bias": False,
    "mlp_bias": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "torch_dtype": "bfloat16",
}


def _write_weights(folder: Path, config: Mapping[str, Any], generator: torch.Generator) -> None:
    index: dict[str, str] = {}
    for number, names in enumerate(_shards(dict(_tensors(config))), start=1):
        file = f"model-{number:05}.safetensors"
        save_file({name: _random(name, shape, generator) for name, shape in names.items()}, folder / file)
        index |= dict.fromkeys(names, file)
    size_bytes = sum(2 * math.prod(shape) for _, shape in _tensors(config))
    listing = {"metadata": {"total_size": size_bytes}, "weight_map": index}
    (folder / "model.safetensors.index.json").write_text(json.dumps(listing, indent=1))


def _shards(tensors: Mapping[str, tuple[int, ...]]) -> Iterator[dict[str, tuple[int, ...]]]:
    shard: dict[str, tuple[int, ...]] = {}
    size_bytes = 0
    for name, shape in tensors.items():
        if shard and size_bytes + 2 * math.prod(shape) > SHARD_BYTES:
            yield shard
            shard, size_bytes = {}, 0
        shard[name] = shape
        size_bytes += 2 * math.prod(shape)
    yield shard


def _tensors(config: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    kv_size = hidden // config["num_attention_heads"] * config["num_key_value_heads"]
    yield "model.embed_tokens.weight", (config["vocab_size"], hidden)
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}"
        for name, size in (("q_proj", hidden), ("k_proj", kv_size), ("v_proj", kv_size), ("o_proj", hidden)):
            yield f"{at}.self_attn.{name}.weight", (size, hidden)
        yield f"{at}.mlp.gate_proj.weight", (inner, hidden)
        yield f"{at}.mlp.up_proj.weight", (inner, hidden)
        yield f"{at}.mlp.down_proj.weight", (hidden, inner)
        yield f"{at}.input_layernorm.weight", (hidden,)
        yield f"{at}.post_attention_layernorm.weight", (hidden,)
    yield "model.norm.weight", (hidden,)
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", (config["vocab_size"], hidden)


def _random(name: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Norms of one; matrices as wide as keeps activations finite through any number of layers."""
    if name.endswith("norm.weight"):
        return torch.ones(shape, dtype=torch.bfloat16)
    width = (3 / shape[-1]) ** 0.5 / 4
    return torch.empty(shape, dtype=torch.bfloat16).uniform_(-width, width, generator=generator)
