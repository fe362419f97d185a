"""The openai package: whole and streamed answers, a list of models, and which expert answered.

Needs: openai>=2. Run: python with_openai.py (COE_URL is the server, http://127.0.0.1:8000 by default).
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["openai>=2"]
# ///

from __future__ import annotations

import os

from openai import OpenAI

URL = os.environ.get("COE_URL", "http://127.0.0.1:8000")
PROMPT = "What is the capital of France?"


def main() -> None:
    client = OpenAI(base_url=f"{URL}/v1", api_key=os.environ.get("COE_API_KEY") or "none")
    print("models:", [model.id for model in client.models.list()])

    raw = client.chat.completions.with_raw_response.create(
        model="coe", messages=[{"role": "user", "content": PROMPT}], max_tokens=16, temperature=0
    )
    whole = raw.parse()
    print(f"{raw.headers['x-coe-expert']} ({raw.headers['x-coe-why']}):", whole.choices[0].message.content)

    stream = client.chat.completions.create(
        model="coe", messages=[{"role": "user", "content": PROMPT}], max_tokens=16, temperature=0, stream=True
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert text == whole.choices[0].message.content, text
    print("streamed: the same text")

    completion = client.completions.create(
        model="general", prompt=["The capital of France is", "One, two, three,"], max_tokens=4, temperature=0
    )
    print("completions:", [choice.text for choice in completion.choices])


if __name__ == "__main__":
    main()
