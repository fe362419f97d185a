"""The bound on characters: never below what a prompt that fits can have, and none where text can vanish."""

from __future__ import annotations

import math
import random

import chat_templates
import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from coe.errors import ContextLengthError
from coe.text.length_bound import LengthBound, chars_per_token


@pytest.mark.parametrize("kind", ["byte_level", "sentencepiece"])
def test_no_text_has_more_characters_than_its_tokens_can_stand_for(kind: str) -> None:
    tokenizer: Tokenizer = getattr(chat_templates, kind)().backend_tokenizer
    longest = chars_per_token(tokenizer)
    assert longest is not None
    source = random.Random(0)
    letters = "ab <|>\n\t éß漢😀\u0301\x00"
    words = [*tokenizer.get_vocab(), *letters]
    for _ in range(300):
        text = "".join(source.choices(words, k=source.randrange(1, 30)))
        assert len(text) <= longest * len(tokenizer.encode(text, add_special_tokens=False))


@pytest.mark.parametrize("form", [normalizers.NFC(), normalizers.NFKC(), normalizers.Sequence([normalizers.NFC()])])
def test_composing_letters_is_in_the_bound(form: normalizers.Normalizer) -> None:
    tokenizer = Tokenizer.from_str(chat_templates.byte_level().backend_tokenizer.to_str())
    longest = chars_per_token(tokenizer)
    tokenizer.normalizer = form
    assert longest is not None
    assert chars_per_token(tokenizer) == 4 * longest


VANISHING = {
    "stripped": lambda tokenizer: setattr(tokenizer, "normalizer", normalizers.Strip()),
    "replaced": lambda tokenizer: setattr(tokenizer, "normalizer", normalizers.Replace("  ", " ")),
    "a pattern": lambda tokenizer: setattr(
        tokenizer, "pre_tokenizer", pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel()])
    ),
    "blanks": lambda tokenizer: setattr(tokenizer, "pre_tokenizer", pre_tokenizers.WhitespaceSplit()),
    "a model": lambda tokenizer: setattr(tokenizer, "model", models.WordLevel({"?": 0}, unk_token="?")),
    "beside a token": lambda tokenizer: tokenizer.add_special_tokens([AddedToken("<x>", rstrip=True)]),
}


@pytest.mark.parametrize("change", VANISHING.values(), ids=VANISHING)
def test_where_text_can_vanish_there_is_no_bound(change: object) -> None:
    tokenizer = Tokenizer.from_str(chat_templates.byte_level().backend_tokenizer.to_str())
    assert callable(change)
    change(tokenizer)
    assert LengthBound.of(tokenizer, 10).num_chars == math.inf


def test_the_bound_itself_fits() -> None:
    bound = LengthBound(10, 100)
    bound.check(10, 100, "expert 'x'")
    with pytest.raises(ContextLengthError, match=r"is 10 tokens.*expert 'x'.*11 messages"):
        bound.check(11, 0, "expert 'x'")
    with pytest.raises(ContextLengthError, match=r"is 10 tokens.*100 characters.*expert 'x'.*101"):
        bound.check(1, 101, "expert 'x'")
