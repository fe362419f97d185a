"""Tiny embedding and rerank models, made on the spot: random encoders and classifiers of several architectures.

Each folder is what transformers and sentence-transformers write: config.json, safetensors, a tokenizer, and for vectors
modules.json with a pooling.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tiny_encoders import VOCABULARY, write_json
from tiny_models import tiny_tokenizer
from tokenizers import Tokenizer, processors
from transformers import (
    CONFIG_MAPPING,
    AutoModel,
    AutoModelForSequenceClassification,
    BertTokenizerFast,
    PreTrainedTokenizerFast,
)

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 96,
}
ROBERTA = ("roberta", "xlm-roberta")


def tiny_embedder(
    folder: Path, model_type: str = "bert", seed: int = 0, *, mode: str = "mean", modules: int = 3, **usage: Any
) -> Path:
    """Write an encoder of vectors; `usage` is what its config_sentence_transformers.json says."""
    _write(folder, model_type, seed, AutoModel)
    names = ("Transformer", "Pooling", "Normalize")[:modules]
    rows = [
        {
            "idx": at,
            "name": str(at),
            "path": f"{at}_{name}" if at else "",
            "type": f"sentence_transformers.models.{name}",
        }
        for at, name in enumerate(names)
    ]
    write_json(folder / "modules.json", rows)
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 32, "pooling_mode": mode})
    write_json(folder / "config_sentence_transformers.json", usage)
    return folder


def tiny_reranker(folder: Path, model_type: str = "bert", seed: int = 0, *, num_labels: int = 1, **config: Any) -> Path:
    """Write a classifier that scores pairs."""
    return _write(folder, model_type, seed, AutoModelForSequenceClassification, num_labels=num_labels, **config)


def _byte_level_tokenizer() -> PreTrainedTokenizerFast:
    """Return one that ends every text, as RoBERTa's does, and without a chat template."""
    bpe = Tokenizer.from_str(tiny_tokenizer().backend_tokenizer.to_str())
    end = ("<|im_end|>", 2)
    bpe.post_processor = processors.TemplateProcessing(
        single="$A <|im_end|>", pair="$A <|im_end|> $B <|im_end|>", special_tokens=[end]
    )
    names = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    return PreTrainedTokenizerFast(tokenizer_object=bpe, model_max_length=96, **names)


def _write(folder: Path, model_type: str, seed: int, kind: Any, **config: Any) -> Path:
    is_byte_level = model_type not in ("bert", "distilbert")
    sizes: dict[str, Any] = {**SIZES, "vocab_size": 512 if is_byte_level else len(VOCABULARY), "pad_token_id": 0}
    if model_type == "distilbert":
        sizes |= {"dim": 32, "n_layers": 3, "n_heads": 2, "hidden_dim": 64}
    if model_type in ROBERTA:
        sizes |= {"pad_token_id": 1, "type_vocab_size": 1}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = kind.from_config(CONFIG_MAPPING[model_type](**sizes, **config)).eval()
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, mean=1.0 if parameter.dim() == 1 else 0.0, std=0.2)
    model.save_pretrained(folder)
    if is_byte_level:
        _byte_level_tokenizer().save_pretrained(folder)
    else:
        (folder / "vocab.txt").write_text("\n".join(VOCABULARY))
        BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=64).save_pretrained(folder)
    return folder
