"""The openai package's helpers: parse() into a class, tools that must be called, their stream, and results sent back.

Needs: openai>=2. Run: python with_openai_tools.py (COE_URL is the server, http://127.0.0.1:8000 by default).
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["openai>=2"]
# ///

from __future__ import annotations

import json
import os
from typing import Any, Literal

import openai
from openai import OpenAI
from pydantic import BaseModel

URL = os.environ.get("COE_URL", "http://127.0.0.1:8000")
MODEL = os.environ.get("COE_MODEL", "coe")
ASKED: list[Any] = [{"role": "user", "content": "What is the weather in Paris?"}]


class GetWeather(BaseModel):
    """The weather in a city."""

    city: Literal["Paris", "Rome"]
    days: Literal[1, 2, 3]


TOOL = openai.pydantic_function_tool(GetWeather, name="get_weather")
FORCED: Any = {"type": "function", "function": {"name": "get_weather"}}


def main() -> None:
    client = OpenAI(base_url=f"{URL}/v1", api_key=os.environ.get("COE_API_KEY") or "none", max_retries=0)
    settings: dict[str, Any] = {"model": MODEL, "messages": ASKED, "max_tokens": 512, "temperature": 0}
    settings["parallel_tool_calls"] = False  # a small model would call again and again

    parsed = client.chat.completions.parse(response_format=GetWeather, **settings).choices[0].message.parsed
    assert isinstance(parsed, GetWeather)
    print("parse():", parsed)
    with client.chat.completions.stream(response_format=GetWeather, **settings) as stream:
        last = stream.get_final_completion().choices[0].message.parsed
    assert last == parsed
    print("parsed from a stream: the same")

    for choice in ("required", FORCED):
        done = client.chat.completions.parse(tools=[TOOL], tool_choice=choice, **settings)
        call = calls_of(done.choices[0].message)[0]
        assert isinstance(call.function.parsed_arguments, GetWeather)
        # a function that the request names is "stop", as OpenAI has it
        assert done.choices[0].finish_reason == ("tool_calls" if choice == "required" else "stop")
    print("tool_choice required and by name:", call.function.name, call.function.arguments)

    with client.chat.completions.stream(tools=[TOOL], tool_choice=FORCED, **settings) as stream:
        kinds = [event.type for event in stream]
        streamed = stream.get_final_completion().choices[0].message
    assert "tool_calls.function.arguments.done" in kinds, kinds
    assert calls_of(streamed)[0].function.arguments == call.function.arguments
    print("streamed: the same call")

    turns = [
        *ASKED,
        done.choices[0].message.model_dump(exclude_unset=True, exclude={"parsed"}),
        *(
            {"role": "tool", "tool_call_id": each.id, "content": json.dumps({"sky": "clear"})}
            for each in calls_of(done.choices[0].message)
        ),
    ]
    answer = client.chat.completions.create(tools=[TOOL], **{**settings, "messages": turns, "max_tokens": 24})
    print("after the result:", answer.choices[0].message.content)


def calls_of(message: Any) -> list[Any]:
    assert not message.content, message
    return list(message.tool_calls)


if __name__ == "__main__":
    main()
