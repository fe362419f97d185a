"""LiteLLM's library: completion, stream, tools, response_format, embedding, and a fallback when a context is too short.

Needs: litellm>=1.80. Run: python with_litellm.py (COE_URL is the server, http://127.0.0.1:8000 by default).
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["litellm>=1.80"]
# ///

from __future__ import annotations

import json
import os
from typing import Any

import litellm
from pydantic import BaseModel

URL = os.environ.get("COE_URL", "http://127.0.0.1:8000")
# `openai/` says which dialect the server speaks; every other name stays coe's
SERVER: dict[str, Any] = {"api_base": f"{URL}/v1", "api_key": os.environ.get("COE_API_KEY") or "none"}
ASKED = [{"role": "user", "content": "What is the weather in Paris?"}]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Rome"]}, "days": {"enum": [1, 2, 3]}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}


class Weather(BaseModel):
    """What was asked for."""

    city: str
    days: int


def main() -> None:
    litellm.telemetry = False
    settings: dict[str, Any] = {**SERVER, "model": "openai/coe", "messages": ASKED, "temperature": 0}
    whole = litellm.completion(max_tokens=16, **settings).choices[0].message.content
    print("completion:", whole)
    stream = litellm.completion(max_tokens=16, stream=True, **settings)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == whole
    print("streamed: the same text")

    for choice in ("required", {"type": "function", "function": {"name": "get_weather"}}):
        (call, *_) = (
            litellm.completion(max_tokens=128, tools=[TOOL], tool_choice=choice, **settings)
            .choices[0]
            .message.tool_calls
        )
        Weather.model_validate_json(call.function.arguments)
    pieces = litellm.completion(max_tokens=128, tools=[TOOL], tool_choice="required", stream=True, **settings)
    joined = litellm.stream_chunk_builder(list(pieces))
    assert joined.choices[0].message.tool_calls[0].function.name == "get_weather"
    print("tools:", call.function.name, call.function.arguments)

    form = {"type": "json_schema", "json_schema": {"name": "weather", "schema": SCHEMA, "strict": True}}
    written = litellm.completion(max_tokens=128, response_format=form, **settings).choices[0].message.content
    print("response_format:", Weather.model_validate(json.loads(written)))

    vectors = litellm.embedding(model="openai/coe", input=["one", "two"], encoding_format="float", **SERVER).data
    print("embedding:", [len(each["embedding"]) for each in vectors])
    fall_back()


def fall_back() -> None:
    """Ask the composition for more than its context: LiteLLM knows the error, and asks who was named for that."""
    long = [{"role": "user", "content": "word " * 20_000}]
    try:
        litellm.completion(model="openai/coe", messages=long, max_tokens=4, **SERVER)
    except litellm.ContextWindowExceededError as error:
        print("too long:", str(error)[:150])
    else:
        raise SystemExit("a prompt beyond the context was taken")

    router = litellm.Router(
        model_list=[
            {"model_name": "routed", "litellm_params": {"model": "openai/coe", **SERVER}},
            {
                "model_name": "roomy",
                "litellm_params": {"model": "openai/elsewhere", "mock_response": "from the roomy one", **SERVER},
            },
        ],
        context_window_fallbacks=[{"routed": ["roomy"]}],
        num_retries=0,
    )
    answer = router.completion(model="routed", messages=long, max_tokens=4)
    assert answer.choices[0].message.content == "from the roomy one"
    print("context_window_fallbacks: asked", "roomy")


if __name__ == "__main__":
    main()
