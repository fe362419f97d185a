"""Tiny encoders with the files that sentence-transformers writes, made on the spot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, BertModel, BertTokenizerFast, DistilBertConfig, DistilBertModel

HIDDEN = 32
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]
VOCABULARY = [*WORDS, *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")]
TEXTS = ["a", "the quick brown fox", "some words " * 30, "jumps over", "one two three four five six seven"]


def write_model(folder: Path, *, is_bert: bool = True, **usage: Any) -> Path:
    """A tiny encoder with the files that sentence-transformers writes; `usage` is what its configs say."""
    torch.manual_seed(0)
    sizes = {"vocab_size": len(VOCABULARY), "max_position_embeddings": 64}
    if is_bert:
        shape = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
        model: Any = BertModel(BertConfig(hidden_size=HIDDEN, **shape, **sizes))
    else:
        model = DistilBertModel(DistilBertConfig(dim=HIDDEN, n_layers=2, n_heads=2, hidden_dim=64, **sizes))
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY))
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=64).save_pretrained(folder)
    types = usage.pop("types", ("Transformer", "Pooling", "Normalize"))
    modules = [
        {
            "idx": at,
            "name": str(at),
            "path": "" if name == "Transformer" else f"{at}_{name}",
            "type": f"sentence_transformers.models.{name}",
        }
        for at, name in enumerate(types)
    ]
    write_json(folder / "modules.json", modules)
    write_json(folder / "1_Pooling" / "config.json", usage.get("pooling", {"pooling_mode_mean_tokens": True}))
    write_json(folder / "config_sentence_transformers.json", usage.get("prompts", {}))
    return folder


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value))
