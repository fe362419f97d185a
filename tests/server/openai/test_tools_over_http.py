"""Tools with OpenAI's own client against a live server: calls that must come, streams, results sent back.

Tiny random models call nothing of themselves; a grammar makes them. What real models print is read in
tests/coe/text/output.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

import openai
import pytest
from compositions import write_config
from pydantic import BaseModel
from server_live import Live, live_server
from tiny_models import tiny_llama
from tool_experts import MARKS, tool_expert
from tool_templates import TOOL_TEMPLATES

ASKED: list[Any] = [{"role": "user", "content": "What is the weather in Paris?"}]


class GetWeather(BaseModel):
    """The weather in a city."""

    city: Literal["Paris", "Rome"]
    days: Literal[1, 2, 3]


WEATHER = openai.pydantic_function_tool(GetWeather, name="get_weather")
NOTHING = {"type": "object", "properties": {}, "additionalProperties": False}
TIME: Any = {"type": "function", "function": {"name": "get_time", "parameters": NOTHING}}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("tools")
    experts = {
        "qwen": tool_expert(folder / "qwen", TOOL_TEMPLATES["qwen-3"]),
        "special": tool_expert(folder / "special", TOOL_TEMPLATES["qwen-3"], is_special=True),
        "plain": tiny_llama(folder / "plain", max_position_embeddings=2048),  # its template knows no tools
        "thinker": tool_expert(folder / "thinker", TOOL_TEMPLATES["qwq"]),
    }
    with live_server(write_config(folder, experts, "[answer_cache]\nenabled = true")) as server:
        yield server


@pytest.fixture(scope="module")
def client(live: Live) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0, timeout=120) as made:
        yield made


def forced(**more: Any) -> dict[str, Any]:
    settings = {"model": "qwen", "messages": ASKED, "tools": [WEATHER, TIME], "tool_choice": "required"}
    return {**settings, "max_tokens": 300, "temperature": 0.8, "seed": 3, "parallel_tool_calls": False, **more}


@pytest.mark.parametrize("model", ["qwen", "special", "plain"])
def test_a_call_that_must_come_comes_and_nothing_else(client: openai.OpenAI, model: str) -> None:
    done = client.chat.completions.create(**forced(model=model, n=2))
    for choice in done.choices:
        assert choice.finish_reason == "tool_calls"
        assert choice.message.content is None
        (call,) = choice.message.tool_calls or ()
        assert call.type == "function"
        assert call.id.startswith("call_")
        assert call.function.name in ("get_weather", "get_time")
        assert isinstance(json.loads(call.function.arguments), dict)


def test_the_named_tool_is_called_and_its_strict_arguments_are_parsed(client: openai.OpenAI) -> None:
    named: Any = {"type": "function", "function": {"name": "get_weather"}}
    done = client.chat.completions.parse(**forced(tools=[WEATHER], tool_choice=named))
    (call,) = done.choices[0].message.tool_calls or ()
    assert isinstance(call.function.parsed_arguments, GetWeather)


def test_a_named_tool_ends_with_stop_as_openai_says_and_a_required_one_with_tool_calls(client: openai.OpenAI) -> None:
    """OpenAI's answers to all four, whole and streamed, are recorded in vLLM's pull request 25054."""
    named: Any = {"type": "function", "function": {"name": "get_time"}}
    for choice, expected in ((named, "stop"), ("required", "tool_calls")):
        whole = client.chat.completions.create(**forced(tool_choice=choice)).choices[0]
        assert (whole.finish_reason, len(whole.message.tool_calls or ())) == (expected, 1)
        chunks = client.chat.completions.create(stream=True, **forced(tool_choice=choice))
        ends = [each.finish_reason for chunk in chunks for each in chunk.choices if each.finish_reason]
        assert ends == [expected]


def test_a_stream_brings_id_and_name_and_then_arguments(client: openai.OpenAI) -> None:
    pieces, texts, ends = [], [], []
    for chunk in client.chat.completions.create(stream=True, **forced(logprobs=True)):
        for choice in chunk.choices:
            pieces += choice.delta.tool_calls or []
            texts.append(choice.delta.content or "")
            ends += [choice.finish_reason] if choice.finish_reason else []
    first, *others = pieces
    assert first.function is not None
    assert (first.index, first.type, first.function.arguments) == (0, "function", "")
    assert first.id
    assert first.function.name
    assert all(each.index == 0 and each.id is None and each.function for each in others)
    written = "".join(each.function.arguments or "" for each in others if each.function)
    assert isinstance(json.loads(written), dict)
    assert "".join(texts) == ""
    assert ends == ["tool_calls"]


def test_the_stream_helper_joins_what_the_whole_answer_says(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(**forced(temperature=0))
    with client.chat.completions.stream(**forced(temperature=0)) as stream:
        streamed = stream.get_final_completion()
    (call,), (joined,) = whole.choices[0].message.tool_calls or (), streamed.choices[0].message.tool_calls or ()
    assert call.type == "function"
    assert (joined.function.name, joined.function.arguments) == (call.function.name, call.function.arguments)
    assert streamed.choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize("model", ["qwen", "plain"])
def test_a_loop_sends_results_back_until_an_answer_comes(client: openai.OpenAI, model: str) -> None:
    messages = list(ASKED)
    for choice in ("required", "required", "none"):
        done = client.chat.completions.create(**forced(model=model, messages=messages, tool_choice=choice))
        message = done.choices[0].message
        messages.append(message.model_dump(exclude_none=True))
        for call in message.tool_calls or ():
            messages.append({"role": "tool", "tool_call_id": call.id, "content": '{"celsius": 18}'})
    assert [each["role"] for each in messages[1:]] == ["assistant", "tool", "assistant", "tool", "assistant"]
    assert not message.tool_calls
    changed: Any = done.model_extra and done.model_extra["coe"].get("changed")
    assert bool(changed) is (model == "plain")


def test_a_kept_answer_is_read_again(client: openai.OpenAI) -> None:
    done = [client.chat.completions.create(**forced(temperature=0, max_tokens=299)) for _ in range(2)]
    calls = [each.choices[0].message.tool_calls or () for each in done]
    assert [bool(each.model_extra and each.model_extra["coe"].get("cached")) for each in done] == [False, True]
    for (call,) in calls:
        assert call.type == "function"
    assert len({(call.function.name, call.function.arguments) for (call,) in calls if call.type == "function"}) == 1
    assert [each.choices[0].finish_reason for each in done] == ["tool_calls", "tool_calls"]
    other = client.chat.completions.create(**forced(temperature=0, max_tokens=299, tool_choice="none"))
    assert not other.choices[0].message.tool_calls


def test_a_strict_schema_that_cannot_be_kept_to_is_refused_by_name(client: openai.OpenAI) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}, "required": ["a"]}
    tool: Any = {"type": "function", "function": {"name": "f", "parameters": schema, "strict": True}}
    with pytest.raises(openai.BadRequestError, match=r"tools cannot be called.*uniqueItems") as caught:
        client.chat.completions.create(**forced(tools=[tool]))
    assert caught.value.param == "tools"


def test_a_form_of_the_answer_and_tools_may_stand_together(client: openai.OpenAI) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"enum": [1, 2]}}}
    ends = set()
    for seed in range(8):
        more: dict[str, Any] = {"tool_choice": "auto", "response_format": form, "seed": seed, "tools": [WEATHER]}
        choice = client.chat.completions.create(**forced(**more, max_tokens=600)).choices[0]
        ends.add(choice.finish_reason)
        if choice.finish_reason == "stop":
            assert json.loads(choice.message.content or "") in (1, 2)
    assert ends <= {"stop", "tool_calls"}


def test_thoughts_are_kept_apart_and_counted(client: openai.OpenAI) -> None:
    """The prompt opens them; a random model never closes them, so that all of its answer is thought."""
    asked: Any = {
        "model": "thinker",
        "messages": ASKED,
        "max_tokens": 12,
        "temperature": 0,
        "extra_body": {"min_tokens": 12},
    }
    done = client.chat.completions.create(**asked)
    message: Any = done.choices[0].message
    assert message.content == ""
    assert message.reasoning_content
    assert done.usage
    assert done.usage.completion_tokens_details
    assert done.usage.completion_tokens_details.reasoning_tokens == done.usage.completion_tokens == 12
    thought = ""
    for chunk in client.chat.completions.create(stream=True, **asked):
        for choice in chunk.choices:
            delta: Any = choice.delta
            thought += getattr(delta, "reasoning_content", None) or ""
            assert not delta.content
    assert thought == message.reasoning_content


def test_a_forced_call_comes_after_thoughts(client: openai.OpenAI) -> None:
    close = MARKS["</think>"]
    done = client.chat.completions.create(**forced(model="thinker", logit_bias={close: 100}))
    (call,) = done.choices[0].message.tool_calls or ()
    assert call.type == "function"
    assert done.choices[0].message.content is None
    assert done.usage
    assert done.usage.completion_tokens_details
    assert done.usage.completion_tokens_details.reasoning_tokens == 1


def test_what_a_template_may_not_be_told_and_what_answers_nothing_is_a_400(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="chat_template_kwargs has 'messages'"):
        client.chat.completions.create(**forced(extra_body={"chat_template_kwargs": {"messages": []}}))
    result: Any = {"role": "tool", "tool_call_id": "call_9", "content": "x"}
    with pytest.raises(openai.BadRequestError, match="answers the call 'call_9'"):
        client.chat.completions.create(**forced(messages=[*ASKED, result]))
