"""LangChain: invoke, stream and batch through ChatOpenAI, and the decision in the answer's metadata.

Needs: langchain-openai>=1. Run: python with_langchain.py (COE_URL is the server, http://127.0.0.1:8000 by default).
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-openai>=1"]
# ///

from __future__ import annotations

import os

from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

URL = os.environ.get("COE_URL", "http://127.0.0.1:8000")
PROMPT = "What is the capital of France?"


def main() -> None:
    key = SecretStr(os.environ.get("COE_API_KEY") or "none")
    model = ChatOpenAI(
        base_url=f"{URL}/v1",
        api_key=key,
        model="coe",
        temperature=0,
        max_completion_tokens=16,
        include_response_headers=True,
    )
    whole = model.invoke(PROMPT)
    print(f"{whole.response_metadata['headers']['x-coe-expert']}:", whole.content)

    text = "".join(str(chunk.content) for chunk in model.stream(PROMPT))
    assert text == whole.content, text
    print("streamed: the same text")

    prompts = ["Write a Python function that reverses a string.", PROMPT]
    experts = [answer.response_metadata["headers"]["x-coe-expert"] for answer in model.batch(prompts)]
    print("batch: answered by", experts)

    chain = ChatPromptTemplate.from_messages([("system", "Answer in one word."), ("user", "{question}")]) | model
    print("chain:", chain.invoke({"question": PROMPT}).content)


if __name__ == "__main__":
    main()
