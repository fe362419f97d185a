"""Any tokens at all: the text is transformers' own, and no sequence of bytes can make the detokenizer raise."""

from __future__ import annotations

import random
from functools import cache

import chat_templates
import pytest
import tiny_models
from tokenizers import Tokenizer, decoders, models

from coe.text.detokenizer import Detokenizer

TEXTS = (
    "the cat sat\non the mat",
    " leading and  double  spaces ",
    "Müller, Straße, 你好, 🎉🎉 done\n\n",
    "\t\ttabs\r\n",
    "e\u0301 combining",
)


@cache
def byte_level() -> Tokenizer:
    return tiny_models.tiny_tokenizer().backend_tokenizer


@cache
def byte_fallback() -> Tokenizer:
    """The decoder of Llama 2, Mistral and Gemma: a run of byte tokens is UTF-8 as a whole or not at all."""
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "▁the", "▁cat", *"abcdehmost.,"]
    tokenizer = Tokenizer(models.BPE(vocab={name: at for at, name in enumerate(names)}, merges=[], byte_fallback=True))
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return tokenizer


def fallback_ids(text: str) -> list[int]:
    vocabulary = byte_fallback().get_vocab()
    ids = []
    for character in "▁" + text.replace(" ", "▁"):
        known = vocabulary.get(character)
        ids += [known] if known is not None else [vocabulary[f"<0x{byte:02X}>"] for byte in character.encode()]
    return ids


def text_of(tokenizer: Tokenizer, ids: list[int], *stop: str) -> str:
    out, pieces = Detokenizer(tokenizer, stop), []
    for token_id in ids:
        pieces.append(out.push(token_id))
        if out.is_stopped:
            break
    return "".join(pieces) + out.finish()


@pytest.mark.parametrize("seed", range(20))
def test_random_tokens_give_what_the_tokenizer_decodes(seed: int) -> None:
    chance, tokenizer = random.Random(seed), byte_level()
    for _ in range(20):
        ids = [chance.randrange(chance.choice((260, 512))) for _ in range(chance.randrange(1, 40))]
        assert text_of(tokenizer, ids) == tokenizer.decode(ids, skip_special_tokens=True)


@pytest.mark.parametrize("text", TEXTS)
def test_byte_tokens_in_valid_text_give_the_text(text: str) -> None:
    ids = fallback_ids(text)
    assert text_of(byte_fallback(), ids) == text == byte_fallback().decode(ids)


@pytest.mark.parametrize("seed", range(20))
def test_bytes_that_are_no_utf8_raise_nothing_and_lose_no_later_text(seed: int) -> None:
    """tokenizers' DecodeStream raises "Invalid prefix encountered" here, which ended every expert's requests."""
    chance = random.Random(seed)
    for _ in range(20):
        noise = [chance.randrange(259) for _ in range(chance.randrange(1, 30))]
        assert text_of(byte_fallback(), [*noise, *fallback_ids("cat\nthe end 🎉")]).endswith(" cat\nthe end 🎉")


@pytest.mark.parametrize("seed", range(10))
def test_any_stop_string_cuts_where_the_text_first_has_it(seed: int) -> None:
    chance, tokenizer = random.Random(seed), byte_level()
    text = " ".join(chance.choice(tiny_models.LINES) for _ in range(2))
    ids = tokenizer.encode(text).ids
    for _ in range(10):
        at = chance.randrange(len(text) - 9)
        stop = text[at : at + chance.randrange(1, 9)]
        assert text_of(tokenizer, ids, stop, "never in it") == text[: text.index(stop)]
        assert text_of(tokenizer, ids, "never in it", text + "!") == text


def test_which_stop_string_ended_a_text_is_said() -> None:
    out = Detokenizer(byte_level(), ("never", "mat", "the mat"))
    for token_id in byte_level().encode("the cat sat on the mat and").ids:
        out.push(token_id)
        if out.is_stopped:
            break
    assert out.stop_string == "the mat"  # which begins first


def test_special_tokens_give_no_text() -> None:
    ids = byte_level().encode("one<|im_end|> two<|im_start|>").ids
    assert text_of(byte_level(), ids) == "one two"


def test_a_text_that_goes_on_keeps_its_first_blank() -> None:
    """SentencePiece's decoders drop the blank before a text's first word: "The capital of France is" lost one."""
    tokenizer = chat_templates.sentencepiece().backend_tokenizer
    whole = tokenizer.encode("The capital of France is Paris and Straße 😀").ids
    for cut in range(1, len(whole)):
        detokenizer = Detokenizer(tokenizer, before=whole[:cut])
        text = "".join(detokenizer.push(token_id) for token_id in whole[cut:]) + detokenizer.finish()
        before = tokenizer.decode(whole[:cut], skip_special_tokens=True)
        if not before.endswith("\N{REPLACEMENT CHARACTER}"):
            assert before + text == "The capital of France is Paris and Straße 😀"


def test_special_tokens_are_text_only_where_they_are_kept() -> None:
    """What reads calls of tools has to see them; the end of a turn is no text in any case."""
    tokenizer = byte_level()
    end, start, stop = (tokenizer.token_to_id(token) for token in tiny_models.SPECIALS)
    ids = [*tokenizer.encode("a", add_special_tokens=False).ids, start, *tokenizer.encode("é b").ids, stop]
    for dropped, expected in ((None, "aé b"), (frozenset({end, stop}), "a<|im_start|>é b")):
        detokenizer = Detokenizer(tokenizer, dropped=dropped)
        assert "".join(map(detokenizer.push, ids)) + detokenizer.finish() == expected
