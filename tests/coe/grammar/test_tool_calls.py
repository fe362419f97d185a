"""Whatever a grammar of calls lets a model write is read as calls of the tools, in every form and with real tokens."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import tiny_llama
from transformers import AutoTokenizer

from coe.errors import InvalidRequestError
from coe.grammar.compiler import Grammars
from coe.grammar.tool_calls import MAX_CALLS, answer_grammar
from coe.text.loading import load_text
from coe.text.output.answer_reader import reader_of
from coe.text.output.call_formats import CALL_FORMATS, CallFormatName
from coe.text.output.parts import Called, Part, Said, Thought
from coe.text.templates import ExpertText
from coe.types import Grammar, GrammarKind, Tool, ToolChoice

CITY = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "enum": ["Paris", "Rome"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 9},
        "exact": {"type": "boolean"},
        "when": {"$ref": "#/$defs/when"},
    },
    "required": ["city"],
    "additionalProperties": False,
    "$defs": {"when": {"enum": ["now", "later"]}},
}
TOOLS = (Tool("get_weather", "", CITY, is_strict=True), Tool("get_time"))
MUST = ToolChoice("required")
THINKING = "<think></think>"
MakeText = Callable[..., ExpertText]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("calls") / "model", vocab_size=640)


@pytest.fixture(scope="module")
def text_of(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> MakeText:
    """Makes a text whose calls have this form, their marks tokens of their own or not."""

    def make(form: CallFormatName, *, has_tokens: bool, template: str | None = None) -> ExpertText:
        own = Path(shutil.copytree(folder, tmp_path_factory.mktemp("texts") / "model"))
        tokenizer: Any = AutoTokenizer.from_pretrained(own)
        if has_tokens:
            marks = ["<think>", "</think>", *CALL_FORMATS[form].tokens]
            tokenizer.add_tokens(marks, special_tokens=form != "hermes")
        tokenizer.save_pretrained(own)
        config = json.loads((own / "config.json").read_text())
        return load_text(str(own), str(own), config, {}, chat_template=template, tool_calls=form)

    return make


@pytest.fixture(scope="module")
def grammars() -> Iterator[Grammars]:
    made = Grammars()
    yield made
    made.close()


def walk(grammars: Grammars, text: ExpertText, grammar: Grammar, seed: int, *, thinks: bool = True) -> str:
    """Return what a model that writes by chance writes under a grammar; it ends where it may."""
    compiled = asyncio.run(grammars.compiled(grammar, text, text.answer_form.lead if thinks else None))
    matcher, chance, taken = compiled.matcher(), random.Random(seed), list[int]()
    for _ in range(1500):
        assert matcher.failure() is None
        bits = np.unpackbits(matcher.mask().view(np.uint8), bitorder="little")
        allowed = [int(each) for each in np.flatnonzero(bits)]
        if text.eos_ids & set(allowed) and chance.random() < 0.6:
            break
        allowed = [each for each in allowed if each not in text.eos_ids] or allowed
        shown = [each for each in allowed if not text.vocabulary.bytes_of(each).isspace()]
        marks = [each for each in allowed if each in text.answer_form.ids.values()]
        token = chance.choice(marks if marks and chance.random() < 0.2 else shown or allowed)
        if token in text.eos_ids:
            break
        taken.append(token)
        matcher.take(taken)
    else:
        raise AssertionError("the walk does not end")
    return str(text.tokenizer.decode(taken, skip_special_tokens=False))


def read(text: ExpertText, written: str, choice: ToolChoice = MUST) -> list[Part]:
    reader = reader_of(text.answer_form, TOOLS, choice, is_thinking=False)
    return [part for letter in written for part in reader.push(letter)] + reader.finish()


def check(called: Called) -> None:
    arguments = json.loads(called.arguments)
    if called.name == "get_time":
        assert arguments == {}
        return
    assert called.name == "get_weather"
    assert arguments["city"] in ("Paris", "Rome")
    assert arguments.keys() <= {"city", "days", "exact", "when"}
    assert arguments.get("days", 1) in range(1, 10)
    assert arguments.get("exact", True) in (True, False)
    assert arguments.get("when", "now") in ("now", "later")


@pytest.mark.parametrize("has_tokens", [True, False])
@pytest.mark.parametrize("form", sorted(CALL_FORMATS))
def test_forced_calls_are_read_as_calls(
    grammars: Grammars, text_of: MakeText, form: CallFormatName, has_tokens: bool
) -> None:
    text = text_of(form, has_tokens=has_tokens)
    for parallel, most in ((False, 1), (True, MAX_CALLS)):
        grammar = answer_grammar(text.answer_form, TOOLS, MUST, None, allows_parallel=parallel)
        assert grammar is not None
        for seed in range(5):
            written = walk(grammars, text, grammar, seed, thinks=False)
            parts = read(text, written)
            assert all(isinstance(part, Called) for part in parts), written
            assert 1 <= len(parts) <= most
            for part in parts:
                assert isinstance(part, Called)
                check(part)


def test_a_named_tool_and_an_allowed_one_are_the_only_ones(grammars: Grammars, text_of: MakeText) -> None:
    text = text_of("hermes", has_tokens=True)
    for choice in (ToolChoice("required", "get_time"), ToolChoice("required", None, ("get_time",))):
        grammar = answer_grammar(text.answer_form, TOOLS, choice, None, allows_parallel=False)
        assert grammar is not None
        (called,) = read(text, walk(grammars, text, grammar, 0), choice)
        assert called == Called("get_time", "{}")


@pytest.mark.parametrize("form", ["hermes", "harmony"])
def test_forced_calls_come_after_thoughts(grammars: Grammars, text_of: MakeText, form: CallFormatName) -> None:
    text = text_of(form, has_tokens=True, template="{{ messages[-1].content }}" + THINKING)
    grammar = answer_grammar(text.answer_form, TOOLS, MUST, None, allows_parallel=False)
    assert grammar is not None
    seen = set()
    for seed in range(40):
        parts = read(text, walk(grammars, text, grammar, seed))
        assert sum(isinstance(part, Called) for part in parts) == 1
        assert not any(isinstance(part, Said) for part in parts)
        seen.add(any(isinstance(part, Thought) for part in parts))
    assert seen == {False, True}


@pytest.mark.parametrize("kind", ["json_schema", "choice"])
def test_an_answer_that_has_a_form_is_in_harmonys_final_channel(
    grammars: Grammars, text_of: MakeText, kind: GrammarKind
) -> None:
    text = text_of("harmony", has_tokens=True)
    asked = Grammar(kind, json.dumps({"enum": ["a", "b"]} if kind == "json_schema" else ["a", "b"]))
    for tools, allowed in (((), {Said}), (TOOLS[:1], {Said, Called})):
        grammar = answer_grammar(text.answer_form, tools, ToolChoice(), asked, allows_parallel=False)
        assert grammar is not None
        seen, thinks = set(), set()
        for seed in range(30):
            parts = read(text, walk(grammars, text, grammar, seed), ToolChoice())
            said = "".join(part.text for part in parts if isinstance(part, Said))
            assert said in ("", "a", "b", '"a"', '"b"')
            thinks.add(any(isinstance(part, Thought) for part in parts))
            seen |= {type(part) for part in parts} - {Thought}
        assert thinks == {False, True}
        assert seen == (allowed if kind == "json_schema" else {Said})


def test_a_strict_tool_binds_a_call_that_begins_and_leaves_text_free(grammars: Grammars, text_of: MakeText) -> None:
    """Only where a token of its own begins a call: text that spells a mark letter by letter is text."""
    text = text_of("hermes", has_tokens=True)
    auto = ToolChoice()
    grammar = answer_grammar(text.answer_form, TOOLS, auto, None, allows_parallel=True)
    assert grammar is not None
    num_calls = 0
    for seed in range(60):
        called = [part for part in read(text, walk(grammars, text, grammar, seed), auto) if isinstance(part, Called)]
        num_calls += len(called)
        for part in called:
            if part.name == "get_weather":
                check(part)
    assert num_calls < 60
    plain = text_of("hermes", has_tokens=False).answer_form
    assert answer_grammar(plain, TOOLS, auto, None, allows_parallel=True) is None
    assert answer_grammar(text.answer_form, TOOLS[1:], auto, None, allows_parallel=True) is None


def test_a_form_of_the_answer_stands_beside_calls_that_may_come(grammars: Grammars, text_of: MakeText) -> None:
    text, asked = text_of("hermes", has_tokens=True), Grammar("json_schema", json.dumps({"enum": [1, "x", None]}))
    grammar = answer_grammar(text.answer_form, TOOLS, ToolChoice(), asked, allows_parallel=False)
    assert grammar is not None
    kinds = set()
    for seed in range(40):
        parts = read(text, walk(grammars, text, grammar, seed), ToolChoice())
        kinds |= set(map(type, parts))
        said = "".join(part.text for part in parts if isinstance(part, Said))
        assert len({type(part) for part in parts}) == 1
        assert not said or json.loads(said) in (1, "x", None)
    assert kinds == {Called, Said}
    none = ToolChoice("none")
    assert answer_grammar(text.answer_form, TOOLS, none, asked, allows_parallel=True) == asked
    regex = Grammar("regex", "[0-9]+")
    assert answer_grammar(text.answer_form, TOOLS, ToolChoice(), regex, allows_parallel=True) == regex


def test_a_strict_tool_whose_schema_cannot_be_kept_to_is_refused(grammars: Grammars, text_of: MakeText) -> None:
    text = text_of("hermes", has_tokens=True)
    schema = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}, "required": ["a"]}
    for is_strict in (True, False):
        tools = (Tool("f", "", schema, is_strict),)
        grammar = answer_grammar(text.answer_form, tools, MUST, None, allows_parallel=False)
        assert grammar is not None
        if is_strict:
            with pytest.raises(InvalidRequestError, match="uniqueItems"):
                asyncio.run(grammars.compiled(grammar, text))
        else:
            asyncio.run(grammars.compiled(grammar, text))
