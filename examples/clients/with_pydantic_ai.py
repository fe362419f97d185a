"""pydantic-ai: an agent that answers, streams, and goes on with a conversation.

Needs: pydantic-ai-slim[openai]>=1. Run: python with_pydantic_ai.py (COE_URL is the server, http://127.0.0.1:8000 by
default).
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["pydantic-ai-slim[openai]>=1"]
# ///

from __future__ import annotations

import asyncio
import os

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.settings import ModelSettings

URL = os.environ.get("COE_URL", "http://127.0.0.1:8000")
PROMPT = "What is the capital of France?"


async def main() -> None:
    provider = OpenAIProvider(base_url=f"{URL}/v1", api_key=os.environ.get("COE_API_KEY") or "none")
    model = OpenAIChatModel("coe", provider=provider)
    agent = Agent(model, instructions="Be brief.", model_settings=ModelSettings(temperature=0, max_tokens=16))

    whole = await agent.run(PROMPT)
    print("answer:", whole.output)
    print("usage:", whole.usage)

    async with agent.run_stream(PROMPT) as streamed:
        text = "".join([piece async for piece in streamed.stream_text(delta=True, debounce_by=None)])
    assert text == whole.output, text
    print("streamed: the same text")

    more = await agent.run("And of Italy?", message_history=whole.all_messages())
    print("follow-up:", more.output)


if __name__ == "__main__":
    asyncio.run(main())
