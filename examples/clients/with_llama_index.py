"""llama-index: chat, stream, completion, and tools that must be called.

Needs: llama-index-llms-openai-like>=0.5. Run: python with_llama_index.py (COE_URL is the server,
http://127.0.0.1:8000 by default).
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["llama-index-llms-openai-like>=0.5"]
# ///

import os
from typing import Literal

from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike

URL = os.environ.get("COE_URL", "http://127.0.0.1:8000")
PROMPT = "What is the capital of France?"


def get_weather(city: Literal["Paris", "Rome"], days: Literal[1, 2, 3]) -> str:
    """Say what the weather in a city will be."""
    return f"clear in {city} for {days} days"


def main() -> None:
    model = OpenAILike(
        model="coe",
        api_base=f"{URL}/v1",
        api_key=os.environ.get("COE_API_KEY") or "none",
        is_chat_model=True,
        is_function_calling_model=True,
        temperature=0,
        max_tokens=64,
        max_retries=0,
    )
    asked = [ChatMessage(role="user", content=PROMPT)]
    whole = model.chat(asked).message.content
    print("chat:", whole)
    assert "".join(piece.delta or "" for piece in model.stream_chat(asked)) == whole
    print("streamed: the same text")
    print("complete:", model.complete("The capital of France is").text[:60])
    called = model.chat_with_tools(
        [FunctionTool.from_defaults(get_weather)], user_msg="The weather in Paris?", tool_required=True
    )
    (call, *_) = model.get_tool_calls_from_response(called)
    print("tools:", call.tool_name, call.tool_kwargs, "->", get_weather(**call.tool_kwargs))


if __name__ == "__main__":
    main()
