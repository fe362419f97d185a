"""Structured output through the official client: parsed models, streams, other names for it, and refusals."""

from __future__ import annotations

import json
from typing import Any, Literal

import openai
import pytest
from pydantic import BaseModel
from server_live import Live, post

PROMPT: Any = [{"role": "user", "content": "Who discovered radium?"}]
SCHEMA = {
    "type": "object",
    "properties": {"id": {"type": "integer"}, "tags": {"type": "array", "items": {"enum": ["x", "y"]}, "maxItems": 3}},
    "required": ["id", "tags"],
    "additionalProperties": False,
}


class Field(BaseModel):
    name: Literal["physics", "chemistry"]
    year: int


class Person(BaseModel):
    initials: Literal["M. C.", "P. C."]
    fields: list[Field]
    is_known: bool


@pytest.fixture(scope="module")
def client(live: Live) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0, timeout=120)


def test_the_official_client_parses_a_model_out_of_the_answer(client: openai.OpenAI) -> None:
    parsed = 0
    for seed in range(4):
        try:
            found = client.chat.completions.parse(
                model="general", messages=PROMPT, response_format=Person, seed=seed, max_tokens=300
            )
        except openai.LengthFinishReasonError:
            continue
        person = found.choices[0].message.parsed
        assert isinstance(person, Person)
        parsed += 1
    assert parsed > 1


def test_a_stream_has_the_text_of_the_whole_answer(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "general", "messages": PROMPT, "seed": 5, "max_tokens": 200}
    form: Any = {"type": "json_schema", "json_schema": {"name": "it", "strict": True, "schema": SCHEMA}}
    whole = client.chat.completions.create(**asked, response_format=form)
    chunks = list(client.chat.completions.create(**asked, response_format=form, stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert whole.choices[0].finish_reason == "length" or set(json.loads(text)) == {"id", "tags"}


@pytest.mark.parametrize("path", ["chat/completions", "completions"])
@pytest.mark.parametrize(
    "form",
    [
        {"guided_choice": ["Marie Curie", "nobody"]},
        {"structured_outputs": {"choice": ["Marie Curie", "nobody"]}},
        {"guided_regex": "Marie Curie|nobody"},
        {"structured_outputs": {"grammar": 'root ::= "Marie Curie" | "nobody"'}},
    ],
    ids=str,
)
def test_other_names_work_in_chat_and_completions(live: Live, path: str, form: dict[str, Any]) -> None:
    prompt = {"messages": PROMPT} if path.startswith("chat") else {"prompt": "Who discovered radium? "}
    answer = post(live, f"/v1/{path}", {"model": "general", **prompt, **form, "n": 2, "max_tokens": 60})
    assert answer.status_code == 200, answer.text
    for choice in answer.json()["choices"]:
        text = choice["text"] if "text" in choice else choice["message"]["content"]
        assert (choice["finish_reason"], text) in [("stop", "Marie Curie"), ("stop", "nobody")]


@pytest.mark.parametrize(
    ("form", "param", "said"),
    [
        ({"type": "json_schema", "json_schema": {"name": "x", "schema": {"not": {}}}}, "response_format", '"not"'),
        ({"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "text"}}}, "response_format", "text"),
        ({"type": "xml"}, "response_format", "xml"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_form_that_cannot_be_kept_to_is_a_400_that_names_it(
    live: Live, form: dict[str, Any], param: str, said: str, stream: bool
) -> None:
    answer = post(live, "/v1/chat/completions", {"messages": PROMPT, "response_format": form, "stream": stream})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == param
    assert said in error["message"]
