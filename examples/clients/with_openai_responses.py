"""The openai package's responses: whole and streamed, parse(), calls of functions, and what is kept.

Needs: openai>=2. Run: python with_openai_responses.py (COE_URL is the server, http://127.0.0.1:8000 by default).
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["openai>=2"]
# ///

from __future__ import annotations

import os
from typing import Any, Literal

from openai import NotFoundError, OpenAI
from pydantic import BaseModel, ConfigDict

URL = os.environ.get("COE_URL", "http://127.0.0.1:8000")
SETTINGS: dict[str, Any] = {"model": "coe", "temperature": 0}
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "Rome"]}, "days": {"enum": [1, 2, 3]}},
        "required": ["city", "days"],
        "additionalProperties": False,
    },
    "strict": True,
}


class Weather(BaseModel):
    """The weather that is asked for."""

    model_config = ConfigDict(extra="forbid")
    city: Literal["Paris", "Rome"]
    days: Literal[1, 2, 3]


def main() -> None:
    client = OpenAI(base_url=f"{URL}/v1", api_key=os.environ.get("COE_API_KEY") or "none", max_retries=0)
    question = "What is the capital of France?"
    whole = client.responses.create(input=question, max_output_tokens=16, **SETTINGS)
    print("create:", whole.output_text, f"({whole.status})")
    with client.responses.stream(input=question, max_output_tokens=16, **SETTINGS) as stream:
        kinds = [event.type for event in stream]
        assert stream.get_final_response().output_text == whole.output_text
    print("streamed: the same text, in", len(kinds), "events from", kinds[0], "to", kinds[-1])

    parsed = client.responses.parse(
        input="The weather in Paris?", text_format=Weather, max_output_tokens=128, **SETTINGS
    ).output_parsed
    assert isinstance(parsed, Weather)
    print("parse():", parsed)

    forced: dict[str, Any] = {
        "tools": [WEATHER],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "max_output_tokens": 128,
    }
    called = client.responses.create(input="The weather in Paris?", **forced, **SETTINGS)
    (call,) = [item for item in called.output if item.type == "function_call"]
    with client.responses.stream(input="The weather in Paris?", **forced, **SETTINGS) as stream:
        (streamed,) = [item for item in stream.get_final_response().output if item.type == "function_call"]
    assert streamed.arguments == call.arguments
    print("function call, whole and streamed:", call.name, call.arguments)
    after = client.responses.create(
        input=[{"type": "function_call_output", "call_id": call.call_id, "output": "clear"}],
        previous_response_id=called.id,
        tools=[WEATHER],
        max_output_tokens=16,
        **SETTINGS,
    )
    print("after its result, by previous_response_id:", after.output_text)

    assert client.responses.retrieve(whole.id).output_text == whole.output_text
    print("kept:", [item.type for item in client.responses.input_items.list(after.id)])
    client.responses.delete(whole.id)
    print("deleted:", missing(client, whole.id).code)


def missing(client: OpenAI, name: str) -> NotFoundError:
    try:
        client.responses.retrieve(name)
    except NotFoundError as error:
        return error
    raise SystemExit("a response that was deleted is still there")


if __name__ == "__main__":
    main()
