"""pydantic-ai: answers as objects, by a tool, by the server's own JSON schema, and by asking for it in the prompt.

Needs: pydantic-ai-slim[openai]>=1. Run: python with_pydantic_ai_outputs.py (COE_URL is the server,
http://127.0.0.1:8000 by default).
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["pydantic-ai-slim[openai]>=1"]
# ///

from __future__ import annotations

import asyncio
import os
from typing import Literal

from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput, PromptedOutput, RunContext, Tool, ToolOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition

URL = os.environ.get("COE_URL", "http://127.0.0.1:8000")
PROMPT = "What will the weather in Paris be tomorrow?"


class Weather(BaseModel):
    """The weather that is asked for."""

    city: Literal["Paris", "Rome"]
    days: Literal[1, 2, 3]


def get_time(zone: Literal["CET", "UTC"]) -> str:
    """Say what time it is."""
    return f"noon in {zone}"


async def only_first(context: RunContext[None], definition: ToolDefinition) -> ToolDefinition | None:
    """Offer the tool once: a small model would ask again and again."""
    return definition if context.run_step == 1 else None


async def main() -> None:
    provider = OpenAIProvider(base_url=f"{URL}/v1", api_key=os.environ.get("COE_API_KEY") or "none")
    model = OpenAIChatModel("coe", provider=provider)
    settings = ModelSettings(temperature=0, max_tokens=256)
    # where the schema is in the prompt alone JSON is certain, and that a small model keeps to the schema is not: the
    # server is told it, instead of `json_object`
    form = {"guided_json": Weather.model_json_schema(), "response_format": None}
    told = ModelSettings(temperature=0, max_tokens=256, extra_body=form)
    for name, kind, used in (
        ("tool", ToolOutput(Weather), settings),
        ("native", NativeOutput(Weather), settings),
        ("prompted", PromptedOutput(Weather), told),
    ):
        agent: Agent[None, Weather] = Agent(model, output_type=kind, model_settings=used, retries=0)
        whole = await agent.run(PROMPT)
        assert isinstance(whole.output, Weather)
        async with agent.run_stream(PROMPT) as streamed:
            assert await streamed.get_output() == whole.output
        print(f"{name} output:", whole.output, "and streamed the same")

    time = Tool(get_time, prepare=only_first)
    agent = Agent(model, output_type=ToolOutput(Weather), model_settings=settings, retries=0, tools=[time])
    done = await agent.run(PROMPT)
    print("with a tool beside:", done.output, "in", len(done.all_messages()), "messages")


if __name__ == "__main__":
    asyncio.run(main())
