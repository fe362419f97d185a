"""Tiny random experts whose templates know tools and thoughts; a grammar makes them call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny_models import tiny_llama, tiny_tokenizer
from transformers import AutoTokenizer

__all__ = ["MARKS", "tool_expert"]

_ADDED = ("<tool_call>", "</tool_call>", "<think>", "</think>")
MARKS = {mark: tiny_tokenizer().vocab_size + number for number, mark in enumerate(_ADDED)}  # their token ids


def tool_expert(folder: Path, template: str, *, is_special: bool = False, **config: Any) -> Path:
    """Write a tiny Llama with a chat template and tokens for its marks; returns its folder."""
    tiny_llama(folder, vocab_size=640, max_position_embeddings=2048, **config)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(list(_ADDED), special_tokens=is_special)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return folder
