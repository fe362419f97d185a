"""Answers that keep to a grammar, on the real engine: whatever is drawn, preempted, mixed or passed over."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from compositions import integrity, with_runtime, write_config
from random_schemas import is_valid, random_schema
from tiny_tokenizers import sentencepiece_bpe, tiny_llama_with, unigram

from coe.engine.events import Fault
from coe.errors import ExpertError, InvalidRequestError
from coe.preparation import PreparedPrompt
from coe.runtime import Runtime
from coe.types import Delta, Finished, FinishReason, GenerateRequest, Grammar, Message, Routed, Sampling, ThoughtMarks

PROMPT = (Message("user", "What is the capital of France?"),)
OBJECT = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}, "required": ["a"]}
PERSON = Grammar("json_schema", json.dumps({**OBJECT, "additionalProperties": False}))


@dataclass
class Told:
    """What one choice of a request has said, and why it ended."""

    text: str = ""
    tokens: tuple[int, ...] = ()
    reason: FinishReason | None = None
    expert: str = ""


def request(name: str, grammar: Grammar | None, expert: str | None = None, **sampling: Any) -> GenerateRequest:
    settings = Sampling(**{"max_tokens": 200, "temperature": 1.0, **sampling})
    return GenerateRequest(name, PROMPT, expert=expert, sampling=settings, grammar=grammar)


async def told(runtime: Runtime, asked: GenerateRequest) -> list[Told]:
    choices = [Told() for _ in range(asked.num_choices)]
    async for event in runtime.generate(asked):
        if isinstance(event, Routed):
            for choice in choices:
                choice.expert = event.decision.expert
        elif isinstance(event, Delta):
            choices[event.index].text += event.text
            choices[event.index].tokens += event.token_ids
        elif isinstance(event, Finished):
            choices[event.index].reason = event.reason
    return choices


async def together(runtime: Runtime, requests: Sequence[GenerateRequest]) -> list[Told]:
    found = await asyncio.gather(*(told(runtime, asked) for asked in requests))
    await integrity(runtime)
    return [choice for choices in found for choice in choices]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, llama_folder: Path, gpt2_folder: Path) -> dict[str, Path]:
    """Experts of three kinds of tokenizers and two architectures."""
    made = tmp_path_factory.mktemp("tokenizers")
    return {
        "general": llama_folder,
        "gpt": gpt2_folder,
        "pieces": tiny_llama_with(sentencepiece_bpe(), made / "pieces", seed=1),
        "unigram": tiny_llama_with(unigram(), made / "unigram", seed=2),
    }


def test_json_at_temperature_one_keeps_to_random_schemas(tmp_path: Path, folders: dict[str, Path]) -> None:
    rng = random.Random(0)
    schemas = [random_schema(rng) for _ in range(6)]

    async def work(runtime: Runtime) -> list[Told]:
        requests = [
            request(f"{expert}-{at}", Grammar("json_schema", json.dumps(schema)), expert, seed=at)
            for at, schema in enumerate(schemas)
            for expert in folders
        ]
        return await together(runtime, requests)

    found = with_runtime(write_config(tmp_path, folders), work)
    ended = [(schema, each) for at, each in enumerate(found) if each.reason == "stop" and (schema := schemas[at // 4])]
    assert len(ended) > len(found) * 0.8
    for schema, each in ended:
        assert is_valid(schema, json.loads(each.text)), (schema, each)


def test_every_other_kind_keeps_to_its_form(tmp_path: Path, folders: dict[str, Path]) -> None:
    forms = {
        Grammar("regex", r"\d{3}-[a-f]{2,9}"): lambda text: re.fullmatch(r"\d{3}-[a-f]{2,9}", text),
        Grammar("choice", '["yes", "no", "it depends"]'): lambda text: text in ("yes", "no", "it depends"),
        Grammar("lark", 'start: "(" start ")" | /x+/'): lambda text: (
            re.fullmatch(r"(\(*)x+(\)*)", text) and text.count("(") == text.count(")")
        ),
        Grammar("json_object"): lambda text: isinstance(json.loads(text), dict),
    }

    async def work(runtime: Runtime) -> list[Told]:
        return await together(
            runtime,
            [
                request(f"{grammar.kind}-{expert}-{seed}", grammar, expert, seed=seed)
                for grammar in forms
                for expert in folders
                for seed in range(3)
            ],
        )

    found = iter(with_runtime(write_config(tmp_path, folders), work))
    for grammar, keeps in forms.items():
        for _ in range(3 * len(folders)):
            each = next(found)
            assert each.reason == "length" or keeps(each.text), (grammar, each)


@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_rows_with_and_without_a_grammar_say_together_what_they_say_alone(
    tmp_path: Path, folders: dict[str, Path], device: str
) -> None:
    config = write_config(tmp_path, folders)
    config.write_text(config.read_text().replace('device = "cpu"', f'device = "{device}"'))
    more: list[dict[str, Any]] = [{}, {"top_p": 0.8, "min_tokens": 30}, {"repetition_penalty": 1.3, "ignore_eos": True}]
    requests = [
        request(f"{expert}{at}{seed}", grammar, expert, seed=seed, max_tokens=60, **options)
        for expert in folders
        for at, grammar in enumerate((None, PERSON, Grammar("choice", '["yes", "no"]')))
        for seed, options in [(at, more[at]), (at + 1, more[at - 1])]
    ]

    async def work(runtime: Runtime) -> tuple[list[Told], list[Told]]:
        alone = [(await told(runtime, asked))[0] for asked in requests]
        renamed = [replace(asked, id=f"again-{asked.id}") for asked in requests]
        return alone, await together(runtime, renamed)

    alone, batched = with_runtime(config, work)
    assert batched == alone
    assert len({each.text for each in alone}) > 10


def test_each_choice_has_a_matcher_of_its_own(tmp_path: Path, folders: dict[str, Path]) -> None:
    async def work(runtime: Runtime) -> list[Told]:
        return await told(runtime, replace(request("r", PERSON, seed=3), num_choices=5))

    found = with_runtime(write_config(tmp_path, folders), work)
    assert len({each.text for each in found}) > 1
    assert all(type(json.loads(each.text)["a"]) is int for each in found if each.reason == "stop")


def test_an_answer_that_is_preempted_again_and_again_keeps_to_its_grammar(
    tmp_path: Path, folders: dict[str, Path]
) -> None:
    """It is prefilled with its own tokens, which its matcher has had."""
    config = write_config(tmp_path, folders, "max_step_tokens = 24\nprefix_reuse = false")
    requests = [request(name, PERSON, name, seed=0, max_tokens=80) for name in folders]

    async def work(runtime: Runtime) -> tuple[list[Told], list[Told], int]:
        engine, num_preempted = runtime.engine, 0

        def preempt_all() -> int:
            queues = engine._scheduler.queues
            jobs = [job for job in queues.jobs.values() if job.num_generated > 2 and not queues.is_in_step(job)]
            for job in jobs:
                engine._do(engine._scheduler.preempt(job))
            return len(jobs)

        alone = [(await told(runtime, asked))[0] for asked in requests]
        again = asyncio.create_task(together(runtime, [replace(asked, id=f"again-{asked.id}") for asked in requests]))
        while not again.done():
            num_preempted += await asyncio.wrap_future(engine.call(preempt_all))
            await asyncio.sleep(0)
        return alone, again.result(), num_preempted

    alone, preempted, num_preempted = with_runtime(config, work)
    assert preempted == alone
    assert num_preempted > 0


def test_what_a_request_adds_to_logits_cannot_break_its_grammar(tmp_path: Path, folders: dict[str, Path]) -> None:
    async def work(runtime: Runtime) -> list[Told]:
        text = runtime.experts.served["general"].text
        (letter,) = text.encode_continuation("x")
        bias = {letter: 100.0, **dict.fromkeys(text.eos_ids, 100.0)}
        bias |= dict.fromkeys(text.encode_continuation('{}"'), -100.0)
        asked = [
            request(f"r{seed}", PERSON, "general", seed=seed, logit_bias=bias, temperature=t, max_tokens=60)
            for seed, t in enumerate((0.0, 1.0, 2.0))
        ]
        asked.append(replace(asked[0], id="choice", grammar=Grammar("choice", '["yes", "no"]')))
        return await together(runtime, asked)

    *found, choice = with_runtime(write_config(tmp_path, folders), work)
    assert choice.text in ("yes", "no")
    for each in found:
        assert each.text.startswith("{")
        assert each.reason == "length" or json.loads(each.text)


def test_an_answer_that_is_cut_says_so_and_one_that_must_end_ends(tmp_path: Path, folders: dict[str, Path]) -> None:
    async def work(runtime: Runtime) -> list[Told]:
        cut = request("cut", PERSON, seed=0, max_tokens=2)
        whole = request("whole", Grammar("regex", "a{4}"), min_tokens=50, ignore_eos=True)
        return await together(runtime, [cut, whole])

    cut, whole = with_runtime(write_config(tmp_path, folders), work)
    assert (cut.reason, len(cut.tokens)) == ("length", 2)
    assert (whole.reason, whole.text) == ("stop", "aaaa")


def test_a_grammar_that_cannot_go_on_ends_its_own_request_alone(tmp_path: Path, folders: dict[str, Path]) -> None:
    """A lexer of too many states; the expert is not at fault, and the others in its batch go on."""
    hostile = Grammar("lark", 'start: e\ne: e e e | e e | "a" | "b" | ')

    async def work(runtime: Runtime) -> tuple[Any, list[Told], bool]:
        bad = told(runtime, request("bad", hostile, "general", ignore_eos=True, seed=1))
        results = await asyncio.gather(
            bad, together(runtime, [request("good", PERSON, "general", seed=1)]), return_exceptions=True
        )
        return (*results, runtime.engine.status.outage("general") is None)  # type: ignore[return-value]

    error, (good,), is_well = with_runtime(write_config(tmp_path, folders), work)
    assert isinstance(error, InvalidRequestError)
    assert "cannot go on" in str(error)
    assert good.reason == "stop"
    assert json.loads(good.text)
    assert is_well


def test_an_expert_that_stands_in_has_the_grammar_in_its_own_tokens(tmp_path: Path, folders: dict[str, Path]) -> None:
    config = write_config(tmp_path, folders)
    text = config.read_text().replace(
        f'pieces = "{folders["pieces"]}"', f'pieces = {{ source = "{folders["pieces"]}", fallbacks = ["general"] }}'
    )
    assert "fallbacks" in text
    config.write_text(text)

    async def work(runtime: Runtime) -> list[Told]:
        engine = runtime.engine
        for _ in range(10):  # its breaker opens
            engine.post(Fault("pieces", ExpertError("pieces", "it fails")))
        await asyncio.wrap_future(engine.call(lambda: None))
        return await told(runtime, request("r", PERSON, "pieces", seed=0))

    (found,) = with_runtime(config, work)
    assert found.expert == "general"
    assert found.reason == "length" or json.loads(found.text)


def test_thoughts_are_free_and_the_answer_after_them_is_not(
    tmp_path: Path, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The template says how thoughts are written; here they end with a letter, so that a model by chance ends them."""
    real = Runtime._with_grammar

    async def thinking(runtime: Runtime, prompt: PreparedPrompt, grammar: Grammar) -> PreparedPrompt:
        marked = prompt._replace(thought_marks=ThoughtMarks("<think>", "e"), is_thinking=True)
        return await real(runtime, marked, grammar)

    monkeypatch.setattr(Runtime, "_with_grammar", thinking)
    grammar = Grammar("regex", "[0-9]{3}")

    async def work(runtime: Runtime) -> list[Told]:
        return await together(runtime, [request(f"r{seed}", grammar, "general", seed=seed) for seed in range(8)])

    found = with_runtime(write_config(tmp_path, folders), work)
    assert sum(each.reason == "stop" for each in found) > 2
    for each in found:
        assert each.reason == "length" or re.fullmatch(r"(?s)[^e]*e\s*[0-9]{3}", each.text), each


def test_texts_that_are_scored_have_no_grammar(tmp_path: Path, folders: dict[str, Path]) -> None:
    async def work(runtime: Runtime) -> tuple[float, float]:
        (plain,) = await runtime.likelihoods(request("a", None, "general"), ["Paris"])
        (asked,) = await runtime.likelihoods(request("b", PERSON, "general"), ["Paris"])
        return plain.total, asked.total

    plain, asked = with_runtime(write_config(tmp_path, folders), work)
    assert plain == pytest.approx(asked, rel=1e-4)
