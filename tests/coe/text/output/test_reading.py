"""Events with what the model wrote read: order, ids, tokens of thought, the reason of the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import pytest
from tool_templates import TOOL_TEMPLATES

from coe.text.loading import load_text
from coe.text.output.reading import read_answers
from coe.text.templates import ExpertText
from coe.types import (
    Delta,
    Finished,
    FinishReason,
    GenerateEvent,
    GenerateRequest,
    Message,
    Switch,
    SwitchKind,
    TokenLogprob,
    Tool,
    ToolChoice,
    Usage,
)

SWITCH = Switch(SwitchKind.DEVICE_HIT, 0, 0.0, 0.0, 0.0)
HELLO = (Message("user", "Hello"),)
TOOLS = (Tool("get_weather"), Tool("get_time"))
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
PIECES = ("<think>", "Hm", ".", "</think>", "\n\n", "I ", "look.", "\n", CALL, "\n", CALL)


@pytest.fixture(scope="module")
def text(llama_folder: Path) -> ExpertText:
    config = json.loads((llama_folder / "config.json").read_text())
    return load_text("tiny", str(llama_folder), config, {}, chat_template=TOOL_TEMPLATES["qwen-3"])


def read(
    text: ExpertText, request: GenerateRequest, pieces: Sequence[str], *, has_tokens: bool = True, index: int = 0
) -> list[GenerateEvent]:
    async def events() -> AsyncGenerator[GenerateEvent, None]:
        for at, piece in enumerate(pieces):
            named = TokenLogprob(at, piece, piece.encode(), -1.0)
            yield Delta(piece, (at,) if has_tokens else (), index, (named,))
        yield Finished(FinishReason.STOP, Usage(3, len(pieces)), SWITCH, index)

    async def run() -> list[GenerateEvent]:
        return [event async for event in read_answers(request, text, False, events())]

    return asyncio.run(run())


def request(**more: object) -> GenerateRequest:
    return GenerateRequest("r", HELLO, **{"tools": TOOLS, **more})  # type: ignore[arg-type]


def test_thoughts_text_and_calls_come_apart_and_every_token_and_logprob_once(text: ExpertText) -> None:
    *deltas, end = read(text, request(), PIECES)
    assert all(isinstance(each, Delta) for each in deltas)
    said = [each for each in deltas if isinstance(each, Delta)]
    assert "".join(each.thinking for each in said) == "Hm."
    assert "".join(each.text for each in said) == "I look."
    assert [token for each in said for token in each.token_ids] == list(range(len(PIECES)))
    assert [each.token_id for delta in said for each in delta.logprobs] == list(range(len(PIECES)))
    pieces = [piece for each in said for piece in each.calls]
    assert [(each.index, each.name, each.arguments) for each in pieces] == [
        (0, "get_weather", ""),
        (0, "", '{"city": "Paris"}'),
        (1, "get_weather", ""),
        (1, "", '{"city": "Paris"}'),
    ]
    assert pieces[0].id != pieces[2].id
    assert isinstance(end, Finished)
    assert (end.reason, end.usage.reasoning_tokens) == (FinishReason.TOOL_CALLS, 4)


def test_one_call_at_most_where_calls_may_not_be_parallel(text: ExpertText) -> None:
    events = read(text, request(allows_parallel_calls=False), PIECES)
    names = [piece.name for event in events if isinstance(event, Delta) for piece in event.calls if piece.name]
    assert names == ["get_weather"]


@pytest.mark.parametrize(
    "asked",
    [
        request(tools=()),
        request(tool_choice=ToolChoice("none")),
        request(tool_choice=ToolChoice(allowed=("get_time",))),
    ],
)
def test_without_tools_that_may_be_called_calls_are_text(text: ExpertText, asked: GenerateRequest) -> None:
    *deltas, end = read(text, asked, [CALL])
    assert "".join(each.text for each in deltas if isinstance(each, Delta)) == CALL
    assert isinstance(end, Finished)
    assert end.reason is FinishReason.STOP


def test_a_plain_text_to_continue_is_not_read(text: ExpertText) -> None:
    asked = GenerateRequest("r", prompt="Once", tools=TOOLS)
    deltas = read(text, asked, PIECES)[:-1]
    assert [each.text for each in deltas if isinstance(each, Delta)] == list(PIECES)


def test_a_kept_answer_is_read_again_and_its_thoughts_are_tokenised(text: ExpertText) -> None:
    *deltas, end = read(text, request(), ["".join(PIECES)] + [""] * 9, has_tokens=False)
    first = deltas[0]
    assert isinstance(first, Delta)
    assert (first.thinking, first.text) == ("Hm.", "I look.")
    assert isinstance(end, Finished)
    assert end.usage.reasoning_tokens == len(text.encode_continuation("Hm."))


def test_each_choice_is_read_by_itself(text: ExpertText) -> None:
    (only, *_) = read(text, request(), ["text"], index=3)
    assert isinstance(only, Delta)
    assert only.index == 3
