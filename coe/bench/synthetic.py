"""Experts of a known size out of nothing, for benchmarks where no weights are at hand: Llama shapes, random bfloat16.

Written straight into the unit store, one unit in memory at a time, each expert with bytes of its own; made once. Their
tokenizer knows bytes and nothing else, and what they answer means nothing: it is compared with itself.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from coe.assembly.import_experts import Imported, Progress
from coe.config.catalog import INDEX, ExpertSpec
from coe.config.schema import CacheConfig, Config, RouterConfig
from coe.errors import ConfigError
from coe.weights.store.layout import lay_out_model, lay_out_unit, padded_bytes
from coe.weights.store.unit_store import UnitStore
from coe.weights.unit import Manifest, TensorSpec, Unit

__all__ = ["SHAPES", "bytes_of", "check_disk", "is_made", "make_synthetic", "synthetic_config", "write_checkpoint"]

_LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "dtype": "bfloat16",
    "tie_word_embeddings": False,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-5,
}


def _shape(hidden: int, mlp: int, layers: int, heads: int, kv_heads: int, vocabulary: int) -> Mapping[str, Any]:
    sizes = {"hidden_size": hidden, "intermediate_size": mlp, "num_hidden_layers": layers, "vocab_size": vocabulary}
    return {**_LLAMA, **sizes, "num_attention_heads": heads, "num_key_value_heads": kv_heads}


SHAPES: Mapping[str, Mapping[str, Any]] = {
    "8b": _shape(4096, 14336, 32, 32, 8, 128256),  # Llama-3-8B, 16.1 GB
    "1b": _shape(2048, 5632, 22, 32, 4, 32000),  # TinyLlama-1.1B, 2.2 GB
    "tiny": _shape(64, 128, 6, 4, 2, 512),  # for tests
}
_EXPONENT = np.uint16(116 << 7)  # bfloat16 numbers of 2^-11 to 2^-7: what trained matrices look like
_RANDOM = np.uint16(0x81FF)  # sign, mantissa and the two lowest bits of the exponent
_ONE = np.uint16(0x3F80)
_TEMPLATE = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"


def synthetic_config(folder: Path) -> Config:
    """A configuration without experts whose unit store is `folder`."""
    return Config(Path("synthetic"), (), RouterConfig(general="", enabled=False), CacheConfig(dir=folder))


def bytes_of(shape: str) -> int:
    """What one expert takes on disk and in memory."""
    return sum(padded_bytes(specs) for specs in _layouts(shape).values())


def check_disk(folder: Path, needed_bytes: int, remedy: str) -> None:
    """Raise ConfigError, with the remedy, if the disk lacks the room."""
    free = shutil.disk_usage(folder).free
    if needed_bytes > free:
        raise ConfigError(
            f"{needed_bytes:,} more bytes are to be written below {folder}, where {free:,} are free: {remedy}"
        )


def make_synthetic(store: UnitStore, shape: str, count: int, progress: Progress | None = None) -> list[Imported]:
    """Return `count` experts of a shape, writing what the store lacks."""
    tokenizer = store.folder / "synthetic" / shape
    _write_tokenizer(tokenizer)
    experts = []
    for number in range(1, count + 1):
        manifest = store.lookup(_key(shape, number)) or _write(store, shape, number, tokenizer, progress)
        experts.append(Imported(ExpertSpec(f"{shape}-{number}", manifest.source, tokenizer, tokenizer), manifest))
    return experts


def is_made(store: UnitStore, shape: str, number: int) -> bool:
    """Whether the store has this expert already."""
    return store.lookup(_key(shape, number)) is not None


def write_checkpoint(store: UnitStore, manifest: Manifest, folder: Path) -> Path:
    """Write an expert as safetensors that transformers reads, one file per unit; returns the folder."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, str] = {}
    for index, unit in enumerate(manifest.units):
        file = f"model-{index + 1:05}-of-{len(manifest.units):05}.safetensors"
        files |= {spec.name: file for spec in unit.tensors}
        if not (folder / file).is_file():
            flat = torch.frombuffer(bytearray(store.path(unit).read_bytes()), dtype=torch.uint8)
            save_file({spec.name: _tensor(flat, spec) for spec in unit.tensors}, folder / file, {"format": "pt"})
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": manifest.size_bytes}, "weight_map": files}))
    (folder / "config.json").write_text(json.dumps(dict(manifest.config)))
    return folder


def _tensor(flat: torch.Tensor, spec: TensorSpec) -> torch.Tensor:
    return flat[spec.offset : spec.offset + spec.size_bytes].view(torch.bfloat16).view(spec.shape).clone()


def _layouts(shape: str) -> dict[str, tuple[TensorSpec, ...]]:
    return {unit.name: lay_out_unit(unit.parameters, "BF16") for unit in lay_out_model(shape, SHAPES[shape]).units}


def _key(shape: str, number: int) -> str:
    return f"synthetic-{shape}-{number}"


def _write(store: UnitStore, shape: str, number: int, tokenizer: Path, progress: Progress | None) -> Manifest:
    units: list[Unit] = []
    key = _key(shape, number)
    layouts, total = _layouts(shape), bytes_of(shape)
    for index, (name, specs) in enumerate(layouts.items()):
        data = _random_unit(specs, np.random.default_rng([number, index]))
        units.append(Unit(name, store.put(data.data), data.nbytes, specs))
        if progress is not None:
            progress(f"make {shape}-{number}", sum(unit.size_bytes for unit in units), total)
    manifest = Manifest(key, key, "bfloat16", dict(SHAPES[shape]), {}, str(tokenizer), tuple(units), {})
    store.save(manifest)
    return manifest


def _random_unit(specs: tuple[TensorSpec, ...], random: np.random.Generator) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A unit's flat bytes: matrices of small random numbers, norms of ones."""
    data = np.zeros(padded_bytes(specs), dtype=np.uint8)
    for spec in specs:
        values = data[spec.offset : spec.offset + spec.size_bytes].view(np.uint16)
        if len(spec.shape) == 1:
            values[:] = _ONE
        else:
            values[:] = np.frombuffer(random.bytes(spec.size_bytes), dtype=np.uint16)
            values &= _RANDOM
            values |= _EXPONENT
    return data


def _write_tokenizer(folder: Path) -> None:
    """Bytes as tokens; the same ids for every shape."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<|end|>": 0} | {letter: at for at, letter in enumerate(alphabet, 1)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", chat_template=_TEMPLATE)
    fast.save_pretrained(folder)
