"""OpenAI's own client against a live server: responses, streams, calls, and what is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import openai
import pytest
from api_keys import secret_of, write_keys
from compositions import write_config
from pydantic import BaseModel
from server_live import Live, live_server
from tool_experts import MARKS, live_experts_with_tools

ASKED = "What is the weather in Paris?"
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "Rome"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live_experts_with_tools(tmp_path_factory.mktemp("responses")) as server:
        yield server


@pytest.fixture(scope="module")
def client(live: Live) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0, timeout=120) as made:
        yield made


def asked(**more: Any) -> dict[str, Any]:
    return {"model": "coe", "input": ASKED, "max_output_tokens": 12, "temperature": 0, **more}


def forced(**more: Any) -> dict[str, Any]:
    tools = {"model": "qwen", "tools": [WEATHER], "tool_choice": "required", "parallel_tool_calls": False}
    return asked(**{"max_output_tokens": 300, **tools, **more})


def test_a_response_and_its_stream_say_the_same(client: openai.OpenAI) -> None:
    """Random models end when they like, so the stream's last event is either of two."""
    whole = client.responses.create(**asked(instructions="be kind", metadata={"a": "b"}))
    assert whole.output_text
    assert whole.metadata == {"a": "b"}
    assert whole.usage
    with client.responses.stream(**asked(instructions="be kind")) as stream:
        events = list(stream)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [events[0].type, events[1].type] == ["response.created", "response.in_progress"]
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == whole.output_text
    last = events[-1]
    assert last.type == ("response.completed" if whole.status == "completed" else "response.incomplete")
    assert last.response.output_text == whole.output_text
    assert last.response.usage
    assert last.response.usage.output_tokens == whole.usage.output_tokens


class Reply(BaseModel):
    mood: Literal["good", "bad"]


def test_a_form_is_parsed_whole_and_streamed(client: openai.OpenAI) -> None:
    more: Any = {"max_output_tokens": 200, "text_format": Reply}
    whole = client.responses.parse(**asked(**more))
    assert isinstance(whole.output_parsed, Reply)
    with client.responses.stream(**asked(**more)) as stream:
        assert stream.get_final_response().output_parsed == whole.output_parsed
    free = client.responses.create(**asked(max_output_tokens=400, text={"format": {"type": "json_object"}}))
    assert free.status == "incomplete" or isinstance(json.loads(free.output_text), dict)


def test_a_loop_sends_outputs_back_until_text_comes(client: openai.OpenAI) -> None:
    items: list[Any] = [{"role": "user", "content": ASKED}]
    for choice in ("required", {"type": "function", "name": "get_weather"}):
        done = client.responses.create(**forced(input=items, tool_choice=choice))
        assert done.status == "completed"
        (call,) = (item for item in done.output if item.type == "function_call")
        assert json.loads(call.arguments)["city"] in ("Paris", "Rome")
        items += [item.to_dict() for item in done.output]
        items.append({"type": "function_call_output", "call_id": call.call_id, "output": "18 °C"})
    done = client.responses.create(**forced(input=items, tool_choice="none", max_output_tokens=8))
    assert all(item.type == "message" for item in done.output)


def test_a_streamed_call_has_the_arguments_of_the_whole_one(client: openai.OpenAI) -> None:
    whole = client.responses.create(**forced())
    with client.responses.stream(**forced()) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert kinds.count("response.function_call_arguments.delta") == 1
    calls = [[item.arguments for item in each.output if item.type == "function_call"] for each in (whole, final)]
    assert calls[0] == calls[1]
    assert len(calls[0]) == 1


def test_thoughts_are_items(client: openai.OpenAI) -> None:
    """The prompt opens them; a random model never closes them, unless it is made to."""
    done = client.responses.create(**asked(model="thinker", extra_body={"min_tokens": 12}))
    (thought,) = done.output
    assert thought.type == "reasoning"
    assert thought.content
    assert done.usage
    assert done.usage.output_tokens_details.reasoning_tokens == 12
    streamed = client.responses.create(stream=True, **asked(model="thinker", extra_body={"min_tokens": 12}))
    said = "".join(event.delta for event in streamed if event.type == "response.reasoning_text.delta")
    assert said == thought.content[0].text
    closed = client.responses.create(**forced(model="thinker", extra_body={"logit_bias": {MARKS["</think>"]: 100}}))
    assert [item.type for item in closed.output if item.type != "message"][-1] == "function_call"


def test_log_probabilities_come_when_they_are_included(client: openai.OpenAI) -> None:
    done = client.responses.create(**asked(include=["message.output_text.logprobs"], top_logprobs=2))
    (message,) = done.output
    assert message.type == "message"
    part = message.content[0]
    assert part.type == "output_text"
    assert part.logprobs
    assert "".join(token.token for token in part.logprobs) == part.text
    assert all(len(token.top_logprobs) == 2 for token in part.logprobs)


def test_a_kept_response_is_gone_on_with_listed_and_deleted(client: openai.OpenAI) -> None:
    first = client.responses.create(**asked())
    more: Any = {"previous_response_id": first.id, "input": "And in Rome?"}
    second = client.responses.create(**asked(**more))
    said = [{"role": "user", "content": ASKED}, {"role": "assistant", "content": first.output_text}]
    again = client.responses.create(**asked(input=[*said, {"role": "user", "content": "And in Rome?"}]))
    assert second.output_text == again.output_text
    assert client.responses.retrieve(second.id).to_dict() == second.to_dict()
    listed = list(client.responses.input_items.list(second.id, order="asc", limit=2))
    assert [getattr(item, "role", None) for item in listed] == ["user", "assistant", "user"]
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError, match="no response"):
        client.responses.retrieve(first.id)
    with pytest.raises(openai.NotFoundError, match="no response") as gone:
        client.responses.create(**asked(**more))
    assert gone.value.param == "previous_response_id"
    assert client.responses.create(**asked(previous_response_id=second.id)).output_text  # needs none before it
    for unkept in (
        client.responses.create(**asked(store=False)),
        client.chat.completions.create(model="coe", messages=[{"role": "user", "content": "x"}], max_tokens=1),
    ):
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(unkept.id)


def test_a_streamed_response_is_kept(client: openai.OpenAI) -> None:
    with client.responses.stream(**asked()) as stream:
        last = list(stream)[-1]
    assert last.type in ("response.completed", "response.incomplete")
    assert client.responses.retrieve(last.response.id).output_text == last.response.output_text


def test_errors_are_the_clients_own(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="gpt-nobody"):
        client.responses.create(**asked(model="gpt-nobody"))
    with pytest.raises(openai.BadRequestError, match="web_search"):
        client.responses.create(**asked(tools=[{"type": "web_search"}]))
    with pytest.raises(openai.BadRequestError, match="maximum context length is 2048 tokens") as long:
        client.responses.create(**asked(input="the cat " * 4000))
    assert long.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError, match="order"):
        client.responses.input_items.list(client.responses.create(**asked()).id, order="up")  # type: ignore[arg-type]


def test_another_key_does_not_see_a_response(tmp_path: Path, llama_folder: Path) -> None:
    config = write_config(tmp_path, {"general": llama_folder}, write_keys(tmp_path, me="", you=""))
    with live_server(config) as server:
        clients = [openai.OpenAI(base_url=f"{server.url}/v1", api_key=secret_of(key)) for key in ("me", "you")]
        mine = clients[0].responses.create(**asked(max_output_tokens=2))
        assert clients[0].responses.retrieve(mine.id).id == mine.id
        for ask in (clients[1].responses.retrieve, clients[1].responses.delete, clients[1].responses.input_items.list):
            with pytest.raises(openai.NotFoundError):
                ask(mine.id)
        with pytest.raises(openai.NotFoundError):
            clients[1].responses.create(**asked(previous_response_id=mine.id))
