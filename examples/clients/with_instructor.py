"""instructor: answers as objects in its modes TOOLS, JSON_SCHEMA and JSON.

Needs: instructor>=1.10. Run: python with_instructor.py (COE_URL is the server, http://127.0.0.1:8000 by default).
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["instructor>=1.10", "openai>=2"]
# ///

from __future__ import annotations

import os
from typing import Any, Literal

import instructor
from openai import OpenAI
from pydantic import BaseModel, ConfigDict

URL = os.environ.get("COE_URL", "http://127.0.0.1:8000")
ASKED: list[Any] = [{"role": "user", "content": "What will the weather in Paris be tomorrow?"}]


class Weather(BaseModel):
    """The weather that is asked for."""

    # without it the schema allows any further keys, and a small model finds some
    model_config = ConfigDict(extra="forbid")
    city: Literal["Paris", "Rome"]
    days: Literal[1, 2, 3]


def main() -> None:
    client = OpenAI(base_url=f"{URL}/v1", api_key=os.environ.get("COE_API_KEY") or "none", max_retries=0)
    for mode, kind in (
        (instructor.Mode.TOOLS, Weather),
        (instructor.Mode.JSON_SCHEMA, Weather),
        (instructor.Mode.JSON, Weather),
    ):
        # the schema of JSON mode is in the prompt alone, and a small model needs more to keep to it
        form = (
            {"guided_json": kind.model_json_schema(), "response_format": None} if mode is instructor.Mode.JSON else {}
        )
        found = instructor.from_openai(client, mode=mode).chat.completions.create(
            model="coe",
            messages=ASKED,
            response_model=kind,
            max_tokens=256,
            temperature=0,
            max_retries=0,
            extra_body=form,
        )
        assert isinstance(found, kind)
        print(f"{mode.name}:", found)


if __name__ == "__main__":
    main()
