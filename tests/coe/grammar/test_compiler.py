"""Grammars compiled for real tokenizers: what may follow, when an answer may end, and what hostile ones cost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import tiny_llama
from tiny_tokenizers import sentencepiece_bpe, tiny_llama_with, unigram
from tokenizers import Tokenizer, models, pre_tokenizers

from coe.errors import InvalidRequestError
from coe.grammar.compiler import Grammars
from coe.grammar.matcher import CompiledGrammar, Matcher
from coe.text.loading import load_text
from coe.text.templates import ExpertText
from coe.types import Grammar, GrammarKind, ThoughtMarks

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
KINDS: dict[str, Callable[[Path], Path]] = {
    "byte-level": tiny_llama,
    "sentencepiece": lambda folder: tiny_llama_with(sentencepiece_bpe(), folder),
    "unigram": lambda folder: tiny_llama_with(unigram(), folder),
}


def text_of(folder: Path, name: str = "tiny") -> ExpertText:
    config = json.loads((folder / "config.json").read_text())
    return load_text(name, str(folder), config, json.loads((folder / "generation_config.json").read_text()))


@pytest.fixture(scope="module", params=KINDS)
def text(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ExpertText:
    return text_of(KINDS[request.param](tmp_path_factory.mktemp("tokens") / "model"))


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory: pytest.TempPathFactory) -> ExpertText:
    return text_of(tiny_llama(tmp_path_factory.mktemp("tokens") / "model"))


@pytest.fixture
def grammars() -> Iterator[Grammars]:
    made = Grammars()
    yield made
    made.close()


def compiled(
    grammars: Grammars, text: ExpertText, kind: GrammarKind, source: object = "", **how: Any
) -> CompiledGrammar:
    written = source if isinstance(source, str) else json.dumps(source)
    return asyncio.run(grammars.compiled(Grammar(kind, written), text, **how))


def may_follow(matcher: Matcher) -> set[int]:
    bits = np.unpackbits(matcher.mask().view(np.uint8), bitorder="little")
    return set(map(int, np.flatnonzero(bits)))


def takes(matcher: Matcher, text: ExpertText, answer: str | Sequence[int]) -> bool:
    """Whether every token of an answer may come, one after another; the matcher is at its end then."""
    ids = text.encode_continuation(answer) if isinstance(answer, str) else answer
    taken: list[int] = []
    for token_id in ids:
        if token_id not in may_follow(matcher):
            return False
        taken.append(token_id)
        matcher.take(taken)
    return True


def accepts(form: CompiledGrammar, text: ExpertText, answer: str) -> bool:
    """Whether an answer may be written and may end there."""
    matcher = form.matcher()
    return takes(matcher, text, answer) and bool(may_follow(matcher) & text.eos_ids)


def random_answer(matcher: Matcher, text: ExpertText, rng: np.random.Generator, most: int = 400) -> str | None:
    """Return what tokens chosen by chance write, None where they do not end in time."""
    ids: list[int] = []
    while len(ids) < most:
        token_id = int(rng.choice(sorted(may_follow(matcher))))
        if token_id in text.eos_ids:
            return str(text.tokenizer.decode(ids, skip_special_tokens=True))
        ids.append(token_id)
        matcher.take(ids)
        assert matcher.failure() is None
    return None


def test_each_kind_takes_what_it_says_and_ends_there_alone(text: ExpertText, grammars: Grammars) -> None:
    cases: list[tuple[GrammarKind, object, list[str], list[str]]] = [
        ("json_schema", SCHEMA, ['{"a": 5}', '{\n  "a":5}'], ['{"a": "x"}', '{"b": 5}', "[1]", '{"a": 5} ']),
        ("json_object", "", ["{}", '{"x": [1, null, "é"]}'], ["[]", "5", '"x"', "null"]),
        ("regex", r"\d{2}-[a-c]+", ["12-abc", "00-a"], ["1-a", "12-", "12-d"]),
        ("regex", "^ab+$", ["ab", "abbb"], ["a", "xab"]),
        ("choice", ["yes", "no", "not at all", 'a "b"\n'], ["yes", "no", "not at all", 'a "b"\n'], ["not", "maybe"]),
        ("lark", 'start: "(" start ")" | "x"', ["x", "((x))"], ["(x", "()"]),
        ("lark", 'root ::= "a" [0-9]+', ["a1", "a12"], ["a", "b1"]),
    ]
    for kind, source, good, bad in cases:
        form = compiled(grammars, text, kind, source)
        assert [accepts(form, text, answer) for answer in good] == [True] * len(good), kind
        assert [accepts(form, text, answer) for answer in bad] == [False] * len(bad), kind


def test_answers_by_chance_are_what_was_asked(text: ExpertText, grammars: Grammars) -> None:
    rng, form = np.random.default_rng(0), compiled(grammars, text, "json_schema", SCHEMA)
    found = [json.loads(answer) for _ in range(30) if (answer := random_answer(form.matcher(), text, rng)) is not None]
    assert len(found) > 20
    assert all(set(value) == {"a"} and type(value["a"]) is int for value in found)


def test_control_tokens_are_no_text(byte_level: ExpertText, grammars: Grammars) -> None:
    text = byte_level
    control = {text.tokenizer.token_to_id(token) for token in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")}
    matcher = compiled(grammars, text, "regex", "(?s:.+)").matcher()
    assert not may_follow(matcher) & control
    assert takes(matcher, text, text.encode_continuation("a <"))
    assert may_follow(matcher) & control == text.eos_ids
    named = compiled(grammars, text, "lark", 'start: <|im_start|> "x"').matcher()
    assert may_follow(named) == {text.tokenizer.token_to_id("<|im_start|>")}


def test_min_tokens_and_ignored_ends_hold_back_the_end_until_nothing_else_may_follow(
    byte_level: ExpertText, grammars: Grammars
) -> None:
    text, form = byte_level, compiled(grammars, byte_level, "regex", "a{1,5}")
    for matcher, ends in [
        (form.matcher(), [False, True, True, True, True, True]),
        (form.matcher(3), [False, False, False, True, True, True]),
        (form.matcher(9), [False, False, False, False, False, True]),
        (form.matcher(ignores_eos=True), [False, False, False, False, False, True]),
    ]:
        letter, seen = text.encode_continuation("a")[0], []
        for num_tokens in range(6):
            if num_tokens:
                matcher.take([letter] * num_tokens)
            seen.append(bool(may_follow(matcher) & text.eos_ids))
        assert seen == ends


def test_a_token_that_is_told_again_is_taken_once(byte_level: ExpertText, grammars: Grammars) -> None:
    """A preempted answer is prefilled with its own tokens, and its matcher has had them."""
    ids = byte_level.encode_continuation("ab")
    matcher = compiled(grammars, byte_level, "regex", "abc").matcher()
    assert takes(matcher, byte_level, ids)
    before = may_follow(matcher)
    matcher.take(list(ids))
    assert may_follow(matcher) == before


@pytest.mark.parametrize("marks", [ThoughtMarks("<think>", "</think>"), ThoughtMarks("<|im_start|>", "<|endoftext|>")])
def test_a_grammar_begins_after_the_thoughts(marks: ThoughtMarks, byte_level: ExpertText, grammars: Grammars) -> None:
    """Marks of several tokens, and marks that are tokens of their own."""
    text = byte_level

    def ids_of(answer: str) -> list[int]:
        return list(text.tokenizer.encode(answer, add_special_tokens=False).ids)

    def accepted(form: CompiledGrammar, answer: str) -> bool:
        matcher = form.matcher()
        return takes(matcher, text, ids_of(answer)) and bool(may_follow(matcher) & text.eos_ids)

    opening, closing = marks.opening, marks.closing
    form = compiled(grammars, text, "json_schema", SCHEMA, marks=marks)
    for answer in ('{"a": 1}', f'{opening}so, {{"b"}}: 1.{closing}\n\n{{"a": 1}}', f'{opening}{closing}{{"a": 1}}'):
        assert accepted(form, answer), answer
    for answer in (
        "so",
        f"{opening}so",
        f"{opening}so{closing}",
        f'{opening}so{closing}x{{"a": 1}}',
        f'so{closing}{{"a": 1}}',
    ):
        assert not accepted(form, answer), answer
    form = compiled(grammars, text, "json_schema", SCHEMA, marks=marks, is_thinking=True)
    for answer in (f'so, 1.{closing}\n{{"a": 1}}', f'{closing}{{"a": 1}}'):
        assert accepted(form, answer), answer
    for answer in ('{"a": 1}', f"so{closing}", "so"):
        assert not accepted(form, answer), answer


def test_a_blank_that_is_not_seen_may_begin_an_answer(tmp_path: Path, grammars: Grammars) -> None:
    """SentencePiece's decoder takes it away from the beginning of a text, and models of its kind begin with it."""
    text = text_of(tiny_llama_with(sentencepiece_bpe(), tmp_path / "model"))
    ids = text.tokenizer.encode('{"a": 1}', add_special_tokens=False).ids
    assert text.tokenizer.id_to_token(ids[0]) == "▁"
    assert takes(compiled(grammars, text, "json_schema", SCHEMA).matcher(), text, ids)
    assert not takes(compiled(grammars, text, "json_schema", SCHEMA, is_continued=True).matcher(), text, ids)


@pytest.mark.parametrize(
    ("kind", "source", "said"),
    [
        ("json_schema", {"properties": {"a": {"not": {"type": "string"}}}}, '"not"'),
        ("json_schema", {"type": "array", "uniqueItems": True}, '"uniqueItems"'),
        ("json_schema", {"type": "object", "properties": {"a": False}, "required": ["a"]}, "unsatisfiable"),
        ("json_schema", {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, "cannot be used"),
        ("regex", "(?=a)b", "look-around"),
        ("regex", "[", "unclosed"),
        ("lark", "start: @other", "unknown grammar"),
        ("lark", "start: <|nothing|>", "unknown special token"),
        ("lark", "start: start", "cannot be used"),
        ("regex", "(" * 5000 + ")" * 5000, "invalid regex"),
    ],
)
def test_what_the_library_cannot_do_is_refused_and_named(
    kind: GrammarKind, source: object, said: str, byte_level: ExpertText, grammars: Grammars
) -> None:
    for _ in range(2):
        with pytest.raises(InvalidRequestError, match=said):
            compiled(grammars, byte_level, kind, source)
    assert grammars.num_compiled == 0


@pytest.mark.parametrize(
    ("kind", "source"),
    [
        ("regex", "((((a{1,1000}){1,1000}){1,1000}){1,1000})b"),
        ("regex", "(a?){5000}a{5000}"),
        ("regex", ".*a.{300}b.*c.{300}d"),
        ("lark", 'start: e\ne: e e e | e e | "a" | "b" | '),
        ("json_schema", {"allOf": [{"anyOf": [{"properties": {f"a{i}{j}": {}}} for i in range(8)]} for j in range(8)]}),
        ("json_schema", {"anyOf": [{"required": [f"k{i}"], "type": "object"} for i in range(700)]}),
        ("choice", [f"text number {number}" for number in range(3000)]),
    ],
)
def test_a_hostile_grammar_ends_in_an_answer_or_in_an_error(
    kind: GrammarKind, source: object, byte_level: ExpertText, grammars: Grammars
) -> None:
    """None of these hangs; how long one takes is the library's limits', and is in docs/decisions."""
    try:
        matcher = compiled(grammars, byte_level, kind, source).matcher()
    except InvalidRequestError:
        return
    rng, ids = np.random.default_rng(0), list[int]()
    while len(ids) < 60 and (failure := matcher.failure()) is None:
        others = may_follow(matcher) - byte_level.eos_ids
        if not others:
            return
        ids.append(int(rng.choice(sorted(others))))
        matcher.take(ids)
    assert failure is None or "cannot go on" in str(failure)


def test_grammars_are_kept_by_tokenizer_and_the_oldest_are_forgotten(tmp_path: Path) -> None:
    grammars = Grammars(max_compiled=2)
    first, twin = (text_of(tiny_llama(tmp_path / name, seed), name) for seed, name in enumerate(("first", "twin")))
    try:
        one = compiled(grammars, first, "regex", "a")
        assert compiled(grammars, twin, "regex", "a") is one  # other weights, the same tokenizer
        compiled(grammars, first, "regex", "b")
        compiled(grammars, first, "regex", "c")
        assert grammars.num_compiled == 2
        assert compiled(grammars, first, "regex", "a") is not one
    finally:
        grammars.close()


def test_an_expert_without_exact_tokens_or_without_an_end_has_no_grammars(
    tmp_path: Path, byte_level: ExpertText, grammars: Grammars
) -> None:
    endless = replace(byte_level, expert="endless", eos_ids=frozenset())
    with pytest.raises(InvalidRequestError, match="no end token"):
        compiled(grammars, endless, "regex", "a")
    words = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1, "b": 2}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(InvalidRequestError, match="other text than its tokens' bytes"):
        compiled(grammars, text_of(tiny_llama_with(words, tmp_path / "words"), "words"), "regex", "a")
