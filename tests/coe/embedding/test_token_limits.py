"""What a model takes of a text."""

from __future__ import annotations

import math

import pytest

from coe.embedding.token_limits import TokenLimits
from coe.errors import ContextLengthError, InvalidRequestError

LIMITS = TokenLimits("tiny", 8, 100, num_last=1)


def tokenize(text: str) -> list[int]:
    """A token for each word, between 1 and 2."""
    return [1, *(10 + at for at, _ in enumerate(text.split())), 2]


def read(text: str | tuple[int, ...], truncate_to: int | None = None) -> tuple[int, ...]:
    return LIMITS.read(text, tokenize, truncate_to, "input")


def test_a_text_that_fits_is_read_whole() -> None:
    assert read("a b c") == (1, 10, 11, 12, 2)
    assert read("a b c d e f", 0) == (1, 10, 11, 12, 13, 14, 15, 2)


def test_what_is_too_long_is_refused_with_the_words_that_clients_look_for() -> None:
    with pytest.raises(ContextLengthError, match="maximum context length is 8 tokens for 'tiny', and this text has 9"):
        read("a b c d e f g")
    with pytest.raises(ContextLengthError, match="this text has 9"):
        read(tuple(range(9)))
    with pytest.raises(ContextLengthError, match="1,000 characters"):
        read("a" * 1000)


@pytest.mark.parametrize("text", ["a b c d e f g h i j", "a b c d e f " + "g" * 1000])
def test_a_cut_keeps_what_ends_a_text(text: str) -> None:
    assert read(text, 0) == (1, 10, 11, 12, 13, 14, 15, 2)
    assert read(text, 4) == (1, 10, 11, 2)


def test_token_ids_are_cut_at_their_end() -> None:
    assert read(tuple(range(20)), 0) == tuple(range(8))


@pytest.mark.parametrize("most", [1, 9])
def test_a_number_to_cut_to_that_makes_no_sense_is_refused(most: int) -> None:
    with pytest.raises(InvalidRequestError, match=f"truncate_prompt_tokens = {most}, and 'tiny' takes 2 to 8"):
        read("a", most)


@pytest.mark.parametrize("token_id", [-1, 100])
def test_an_id_that_the_model_has_not_is_refused(token_id: int) -> None:
    with pytest.raises(InvalidRequestError, match=f"token id {token_id} is none of 'tiny', which has 0 to 99"):
        read((5, token_id, 7))


def test_a_model_without_a_limit_takes_all() -> None:
    endless = TokenLimits("table", math.inf, 100)
    assert len(endless.read("a " * 5000, tokenize, None, "input")) == 5002
