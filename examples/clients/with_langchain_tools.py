"""LangChain: bind_tools, with_structured_output by all three methods, and embeddings.

Needs: langchain-openai>=1. Run: python with_langchain_tools.py (COE_URL is the server, http://127.0.0.1:8000 by
default).
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-openai>=1"]
# ///

from __future__ import annotations

import os
from typing import Literal

from langchain_core.messages import AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, SecretStr

URL = os.environ.get("COE_URL", "http://127.0.0.1:8000")
PROMPT = "What is the weather in Paris?"


class Weather(BaseModel):
    """The weather that is asked for."""

    city: Literal["Paris", "Rome"]
    days: Literal[1, 2, 3]


def weather_in(city: Literal["Paris", "Rome"], days: Literal[1, 2, 3]) -> str:
    """Say what the weather in a city will be."""
    return f"clear in {city} for {days} days"


get_weather = tool("get_weather")(weather_in)


def main() -> None:
    key = SecretStr(os.environ.get("COE_API_KEY") or "none")
    model = ChatOpenAI(
        base_url=f"{URL}/v1", api_key=key, model="coe", temperature=0, max_completion_tokens=128, max_retries=0
    )
    for choice in ("any", "get_weather"):
        bound = model.bind_tools([get_weather], tool_choice=choice, parallel_tool_calls=False)
        called = bound.invoke(PROMPT)
        result = get_weather.invoke(called.tool_calls[0])
        assert isinstance(result, ToolMessage)
    print("bind_tools:", called.tool_calls[0]["args"], "->", result.content)
    joined = None
    for chunk in bound.stream(PROMPT):
        assert isinstance(chunk, AIMessageChunk)
        joined = chunk if joined is None else joined + chunk
    assert joined is not None
    assert joined.tool_calls[0]["args"] == called.tool_calls[0]["args"]
    print("streamed: the same call")
    after = model.bind_tools([get_weather]).invoke([HumanMessage(PROMPT), called, result], max_tokens=24)
    print("after the result:", after.content)

    for method in ("json_schema", "function_calling"):
        found = model.with_structured_output(Weather, method=method).invoke(PROMPT)
        assert isinstance(found, Weather)
        print(f"with_structured_output, {method}:", found)
    # this method sends no schema: JSON is certain, its keys are up to the model
    free = model.with_structured_output(None, method="json_mode")
    found = free.invoke('Say where, as JSON. Write {"city": "Paris"} and nothing else.')
    assert isinstance(found, dict)
    print("with_structured_output, json_mode:", found)

    several = model.with_structured_output(Weather, method="json_schema").batch([PROMPT, "And in Rome?", PROMPT])
    assert all(isinstance(each, Weather) for each in several)
    print("batch:", several)

    # the ids that it would send otherwise are those of OpenAI's tokenizer
    embeddings = OpenAIEmbeddings(
        base_url=f"{URL}/v1", api_key=key, model="coe", check_embedding_ctx_length=False, max_retries=0
    )
    print("embeddings:", [len(each) for each in embeddings.embed_documents(["one", "two"])])


if __name__ == "__main__":
    main()
