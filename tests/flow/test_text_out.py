"""Tokens to text and logits to tokens: whole characters, stop strings, seeds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from coe.engine.sampling import Sampler, Waiting, sample
from coe.text.detokenizer import Detokenizer
from coe.types import Sampling


@pytest.fixture(scope="module")
def tokenizer(llama_folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(llama_folder / "tokenizer.json"))


def pushed(tokenizer: Tokenizer, text: str, *stop: str) -> tuple[list[str], Detokenizer]:
    out = Detokenizer(tokenizer, stop)
    pieces = []
    for token_id in tokenizer.encode(text).ids:
        pieces.append(out.push(token_id))
        if out.is_stopped:
            break
    return [*pieces, out.finish()], out


@pytest.mark.parametrize("text", ["plain words", "Müller, Straße, 你好, 🎉🎉 done", "a\n\nb\tc  d", "… “quoted” —"])
def test_pieces_add_up_to_the_text_and_never_split_a_character(tokenizer: Tokenizer, text: str) -> None:
    pieces, _ = pushed(tokenizer, text)
    assert "".join(pieces) == tokenizer.decode(tokenizer.encode(text).ids)
    assert "�" not in "".join(pieces)


def test_unfinished_character_is_shown_as_transformers_shows_it(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("🎉").ids[:-1]
    out = Detokenizer(tokenizer)
    text = "".join(out.push(token_id) for token_id in ids) + out.finish()
    assert text == tokenizer.decode(ids)


@pytest.mark.parametrize("stop", ["capital", "is the", "l of", "t", "What is the capital of France?"])
def test_text_ends_before_the_first_stop_string(tokenizer: Tokenizer, stop: str) -> None:
    text = "What is the capital of France?"
    pieces, out = pushed(tokenizer, text, stop)
    assert "".join(pieces) == text[: text.index(stop)]
    assert out.is_stopped


def test_what_might_begin_a_stop_string_is_held_back_and_given_in_the_end(tokenizer: Tokenizer) -> None:
    pieces, out = pushed(tokenizer, "the end is ne", "near")
    assert "".join(pieces) == "the end is ne"
    assert pieces[-1] != ""
    assert not out.is_stopped


LOGITS = torch.tensor([0.0, 3.0, 1.0, 2.0, -1.0])


def drawn(count: int, **settings: float) -> list[int]:
    sampler = Sampler(Sampling(**settings))  # type: ignore[arg-type]
    return [sample(LOGITS[None], [Waiting(sampler, ())])[0].token_id for _ in range(count)]


def test_temperature_zero_and_top_k_one_are_greedy() -> None:
    assert set(drawn(20, temperature=0)) == {1}
    assert set(drawn(20, temperature=1e-45)) == {1}
    assert set(drawn(20, temperature=2.0, top_k=1)) == {1}
    assert set(drawn(20, temperature=2.0, top_p=1e-6)) == {1}


def test_same_seed_same_draws_and_other_seed_others() -> None:
    assert drawn(50, temperature=1.0, seed=3) == drawn(50, temperature=1.0, seed=3)
    assert drawn(50, temperature=1.0, seed=3) != drawn(50, temperature=1.0, seed=4)


def test_filters_keep_only_what_they_should() -> None:
    assert set(drawn(300, temperature=1.0, top_k=2, seed=0)) == {1, 3}
    probabilities = torch.softmax(LOGITS, 0)
    assert probabilities[1] < 0.8 < probabilities[1] + probabilities[3]
    assert set(drawn(300, temperature=1.0, top_p=0.8, seed=0)) == {1, 3}


def test_draws_follow_the_distribution() -> None:
    draws = torch.tensor(drawn(4000, temperature=1.0, seed=1))
    found = torch.bincount(draws, minlength=5) / 4000
    assert torch.allclose(found, torch.softmax(LOGITS, 0), atol=0.03)
