"""Anthropic's own client against a live server: messages, streams, tools, counts, errors.

Tiny random models call nothing of themselves; a grammar makes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import anthropic
import httpx
import pytest
from api_keys import secret_of, write_keys
from compositions import write_config
from pydantic import BaseModel
from server_live import Live, live_server, post
from tool_experts import MARKS, live_experts_with_tools

ASKED: list[Any] = [{"role": "user", "content": "What is the weather in Paris?"}]
WEATHER: Any = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "Rome"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live_experts_with_tools(tmp_path_factory.mktemp("messages")) as server:
        yield server


@pytest.fixture(scope="module")
def client(live: Live) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=live.url, api_key="none", max_retries=0, timeout=120) as made:
        yield made


def asked(**more: Any) -> dict[str, Any]:
    """A greedy request; this version of the client knows no `temperature` of its own."""
    extra = {"temperature": 0, **more.pop("extra_body", {})}
    return {"model": "coe", "max_tokens": 12, "messages": ASKED, "extra_body": extra, **more}


def forced(**more: Any) -> dict[str, Any]:
    tools = {"model": "qwen", "tools": [WEATHER], "tool_choice": {"type": "any", "disable_parallel_tool_use": True}}
    return asked(**{"max_tokens": 300, **tools, **more})


def test_a_message_and_its_stream_say_the_same(client: anthropic.Anthropic) -> None:
    whole = client.messages.create(**asked(system="be kind", metadata={"user_id": "me"}, extra_body={"top_k": 5}))
    assert whole.type == "message"
    assert whole.model == "general"
    assert whole.usage.output_tokens <= 12
    with client.messages.stream(**asked(system="be kind", extra_body={"top_k": 5})) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert [block.type for block in whole.content] == ["text"]
    assert text == final.content[0].text == whole.content[0].text  # type: ignore[union-attr]
    assert (final.stop_reason, final.usage.output_tokens) == (whole.stop_reason, whole.usage.output_tokens)
    read = [usage.input_tokens + (usage.cache_read_input_tokens or 0) for usage in (whole.usage, final.usage)]
    assert read[0] == read[1]
    assert whole._request_id
    assert whole.model_extra
    assert whole.model_extra["coe"]["expert"] == "general"


def test_which_stop_sequence_ended_it_is_said(client: anthropic.Anthropic) -> None:
    text = client.messages.create(**asked(max_tokens=40)).content[0].text  # type: ignore[union-attr]
    stop = text[4:7]
    stopped = client.messages.create(**asked(max_tokens=40, stop_sequences=["never in it", stop]))
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", stop)
    assert stopped.content == [] or stopped.content[0].text == text[: text.index(stop)]  # type: ignore[union-attr]
    assert client.messages.create(**asked(max_tokens=1)).stop_reason == "max_tokens"


def test_tools_are_called_and_answered_until_text_comes(client: anthropic.Anthropic) -> None:
    messages = list(ASKED)
    for choice in ({"type": "any"}, {"type": "tool", "name": "get_weather"}):
        more: Any = {"messages": messages, "tool_choice": {**choice, "disable_parallel_tool_use": True}}
        done = client.messages.create(**forced(**more))
        assert done.stop_reason == "tool_use"
        (call,) = (block for block in done.content if block.type == "tool_use")
        assert call.name == "get_weather"
        assert call.input["city"] in ("Paris", "Rome")
        result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "18 °C"}]}
        messages += [{"role": "assistant", "content": done.content}, {"role": "user", "content": [result]}]
    done = client.messages.create(**forced(messages=messages, tool_choice={"type": "none"}, max_tokens=12))
    assert all(block.type == "text" for block in done.content)


def test_a_streamed_call_has_the_input_of_the_whole_one(client: anthropic.Anthropic) -> None:
    whole = client.messages.create(**forced())
    with client.messages.stream(**forced()) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_message()
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"
    assert final.stop_reason == "tool_use"
    assert [block.input for block in final.content if block.type == "tool_use"] == [
        block.input for block in whole.content if block.type == "tool_use"
    ]


def test_thoughts_are_blocks(client: anthropic.Anthropic) -> None:
    """The prompt opens them; a random model never closes them, unless it is made to."""
    more: Any = {"model": "thinker", "thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 12}
    done = client.messages.create(**asked(**more, extra_body={"min_tokens": 12}))
    assert [block.type for block in done.content] == ["thinking"]
    with client.messages.stream(**asked(**more, extra_body={"min_tokens": 12})) as stream:
        (thought,) = stream.get_final_message().content
    assert thought.type == "thinking"
    assert thought == done.content[0]
    details = done.usage.output_tokens_details
    assert details
    assert details.thinking_tokens == 12
    closed = client.messages.create(**forced(model="thinker", extra_body={"logit_bias": {MARKS["</think>"]: 100}}))
    assert closed.stop_reason == "tool_use"


class Reply(BaseModel):
    mood: Literal["good", "bad"]


def test_a_form_is_kept_to(client: anthropic.Anthropic) -> None:
    done = client.messages.parse(**asked(max_tokens=200), output_format=Reply)
    assert isinstance(done.parsed_output, Reply)


def test_a_last_turn_of_the_assistants_is_gone_on_with(client: anthropic.Anthropic) -> None:
    begun = [*ASKED, {"role": "assistant", "content": "The weather"}]
    assert client.messages.create(**asked(messages=begun)).usage.input_tokens
    shorter = client.messages.count_tokens(model="qwen", messages=ASKED).input_tokens
    assert client.messages.count_tokens(model="qwen", messages=begun).input_tokens > shorter


def test_tokens_are_counted_as_the_answer_counts_them(client: anthropic.Anthropic) -> None:
    counted = client.messages.count_tokens(model="qwen", messages=ASKED, system="be kind", tools=[WEATHER])
    usage = client.messages.create(**forced(system="be kind")).usage
    assert counted.input_tokens == usage.input_tokens + (usage.cache_read_input_tokens or 0)


def test_errors_are_the_clients_own(client: anthropic.Anthropic, live: Live) -> None:
    with pytest.raises(anthropic.NotFoundError, match="claude") as missing:
        client.messages.create(**asked(model="claude-nobody"))
    body: Any = missing.value.body
    assert (body["type"], body["error"]["type"]) == ("error", "not_found_error")
    assert body["request_id"] == missing.value.request_id
    image = {"type": "image", "source": {"type": "url", "url": "https://x.example/y.png"}}
    with pytest.raises(anthropic.BadRequestError, match="content block of type 'image'"):
        client.messages.create(**asked(messages=[{"role": "user", "content": [image]}]))
    with pytest.raises(anthropic.BadRequestError, match="maximum context length is 2048 tokens"):
        client.messages.create(**asked(messages=[{"role": "user", "content": "the cat " * 4000}]))
    assert post(live, "/v1/messages/batches", {}).json()["error"]["type"] == "not_found_error"
    assert httpx.get(f"{live.url}/v1/messages").json()["type"] == "error"


def test_a_key_is_asked_for_in_anthropics_way(tmp_path: Path, llama_folder: Path) -> None:
    config = write_config(tmp_path, {"general": llama_folder}, write_keys(tmp_path, me=""))
    with live_server(config) as server:
        client = anthropic.Anthropic(base_url=server.url, api_key=secret_of("me"), max_retries=0)
        assert client.messages.create(**asked(max_tokens=1)).stop_reason == "max_tokens"
        with pytest.raises(anthropic.AuthenticationError) as refused:
            client.with_options(api_key="another").messages.create(**asked())
        body: Any = refused.value.body
        assert body["error"]["type"] == "authentication_error"
