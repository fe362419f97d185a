"""Tiny random experts whose templates know tools and thoughts; a grammar makes them call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from compositions import write_config
from server_live import Live, live_server
from tiny_models import tiny_llama, tiny_tokenizer
from tool_templates import TOOL_TEMPLATES
from transformers import AutoTokenizer

__all__ = ["MARKS", "live_experts_with_tools", "tool_expert"]

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


@contextmanager
def live_experts_with_tools(folder: Path) -> Iterator[Live]:
    """Serve a general expert, one whose template takes tools, and one that thinks."""
    experts = {
        "general": tiny_llama(folder / "general", max_position_embeddings=2048),
        "qwen": tool_expert(folder / "qwen", TOOL_TEMPLATES["qwen-3"]),
        "thinker": tool_expert(folder / "thinker", TOOL_TEMPLATES["qwq"]),
    }
    with live_server(write_config(folder, experts)) as server:
        yield server
