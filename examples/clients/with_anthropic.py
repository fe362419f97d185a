"""The anthropic package: a message whole and streamed, tools that must be used, and their results sent back.

Needs: anthropic>=0.60. Run: python with_anthropic.py (COE_URL is the server, http://127.0.0.1:8000 by default).
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["anthropic>=0.60"]
# ///

from __future__ import annotations

import os
from typing import Any

from anthropic import Anthropic, BadRequestError

URL = os.environ.get("COE_URL", "http://127.0.0.1:8000")
PROMPT: list[Any] = [{"role": "user", "content": "What is the capital of France?"}]
WEATHER: list[Any] = [{"role": "user", "content": "What is the weather in Paris?"}]
GREEDY = {"temperature": 0}  # the newest package has no argument for it
ONE = {"disable_parallel_tool_use": True}  # a small model would call again and again
TOOL: Any = {
    "name": "get_weather",
    "description": "Say what the weather in a city will be.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "Rome"]}, "days": {"enum": [1, 2, 3]}},
        "required": ["city", "days"],
        "additionalProperties": False,
    },
}


def main() -> None:
    client = Anthropic(base_url=URL, api_key=os.environ.get("COE_API_KEY") or "none", max_retries=0)
    print("models:", [model.id for model in client.models.list()])
    raw = client.messages.with_raw_response.create(model="coe", messages=PROMPT, max_tokens=16, extra_body=GREEDY)
    whole = text_of(raw.parse())
    print(f"{raw.headers['x-coe-expert']}:", whole)
    with client.messages.stream(
        model="coe", system="Be brief.", messages=PROMPT, max_tokens=16, extra_body=GREEDY
    ) as stream:
        text = "".join(stream.text_stream)
        last = stream.get_final_message()
    assert text == text_of(last)
    print("streamed:", text, last.usage.output_tokens, "tokens,", last.stop_reason)
    counted = client.messages.count_tokens(model="general", messages=PROMPT)
    print("count_tokens:", counted.input_tokens)

    choice: Any
    for choice in ({"type": "any", **ONE}, {"type": "tool", "name": "get_weather", **ONE}):
        used = client.messages.create(
            model="coe", messages=WEATHER, tools=[TOOL], tool_choice=choice, max_tokens=512, extra_body=GREEDY
        )
        assert used.stop_reason == "tool_use"
        calls = [block for block in used.content if block.type == "tool_use"]
        assert calls[0].input["city"] in ("Paris", "Rome")
    print("tools:", calls[0].name, calls[0].input)
    with client.messages.stream(
        model="coe", messages=WEATHER, tools=[TOOL], tool_choice=choice, max_tokens=512, extra_body=GREEDY
    ) as stream:
        streamed = stream.get_final_message()
    assert [block.input for block in streamed.content if block.type == "tool_use"] == [each.input for each in calls]
    print("streamed: the same use")
    results: Any = [{"type": "tool_result", "tool_use_id": each.id, "content": "clear"} for each in calls]
    turns: list[Any] = [
        *WEATHER,
        {"role": "assistant", "content": used.content},
        {"role": "user", "content": results},
    ]
    after = client.messages.create(model="coe", messages=turns, tools=[TOOL], max_tokens=24, extra_body=GREEDY)
    print("after the result:", text_of(after))

    try:
        client.messages.create(model="coe", messages=PROMPT, max_tokens=4, extra_body={"top_kk": 4})
    except BadRequestError as error:
        print("a misspelt field:", error.message[:150])
    else:
        raise SystemExit("a misspelt field was taken")


def text_of(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


if __name__ == "__main__":
    main()
