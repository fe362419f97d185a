"""A token by itself: its bytes, for every kind of tokenizer."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models

from coe.text.vocabulary import Vocabulary


def test_bytes_of_byte_level_tokens_add_up_to_the_text(llama_folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(llama_folder / "tokenizer.json"))
    vocabulary = Vocabulary(tokenizer)
    for text in ("What is the capital?", "Müller, 你好 🎉", "a\n\tb ¬ ÿ \x00"):
        ids = tokenizer.encode(text).ids
        assert b"".join(vocabulary.bytes_of(token_id) for token_id in ids) == text.encode()
    assert vocabulary.bytes_of(tokenizer.token_to_id("<|im_end|>")) == b"<|im_end|>"


def test_a_part_of_a_character_shows_its_bytes_and_a_replacement(llama_folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(llama_folder / "tokenizer.json"))
    token = Vocabulary(tokenizer).named(tokenizer.encode("🎉").ids[0], None)
    assert token.bytes == b"\xf0"
    assert token.text == "\N{REPLACEMENT CHARACTER}"
    assert token.logprob is None


@pytest.mark.parametrize("fuses", [True, False])
def test_sentencepiece_tokens_have_spaces_and_fallback_bytes(fuses: bool) -> None:
    tokenizer = Tokenizer(models.BPE({"▁the": 0, "<0xE2>": 1, "é": 2}, [], byte_fallback=True))
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps) if fuses else decoders.Metaspace()
    tokenizer.add_special_tokens([AddedToken("</s>")])
    vocabulary = Vocabulary(tokenizer)
    assert [vocabulary.bytes_of(token_id) for token_id in (0, 1, 2, 3)] == [b" the", b"\xe2", "é".encode(), b"</s>"]
    assert vocabulary.bytes_of(99) == b""  # the head is wider than the tokenizer
