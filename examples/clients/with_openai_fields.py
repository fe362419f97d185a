"""The openai package, field by field: lists of prompts, n, logprobs, stop, seed, embeddings, and what only coe knows.

Needs: openai>=2 and numpy, with which the package reads base64. Run: python with_openai_fields.py (COE_URL is the
server, http://127.0.0.1:8000 by default).
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["openai>=2", "numpy>=1.26"]
# ///

from __future__ import annotations

import math
import os
from typing import Any

from openai import BadRequestError, OpenAI
from openai.types.chat import ChatCompletionMessageParam

URL = os.environ.get("COE_URL", "http://127.0.0.1:8000")
ASKED: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is the capital of France?"}]


def main() -> None:
    client = OpenAI(base_url=f"{URL}/v1", api_key=os.environ.get("COE_API_KEY") or "none", max_retries=0)
    ask_for_choices(client)
    ask_for_lists(client)
    ask_for_vectors(client)
    ask_what_only_coe_knows(client)
    be_refused(client)


def ask_for_choices(client: OpenAI) -> None:
    done = client.chat.completions.create(
        model="coe", messages=ASKED, max_tokens=8, n=2, seed=7, temperature=0.8, logprobs=True, top_logprobs=2
    )
    assert [choice.index for choice in done.choices] == [0, 1]
    for choice in done.choices:
        assert choice.logprobs is not None
        content = choice.logprobs.content
        assert content is not None
        assert "".join(token.token for token in content).startswith(choice.message.content or "")
        assert all(token.logprob <= 0 and len(token.top_logprobs) == 2 for token in content)
    again = client.chat.completions.create(model="coe", messages=ASKED, max_tokens=8, n=2, seed=7, temperature=0.8)
    assert [each.message.content for each in again.choices] == [each.message.content for each in done.choices]
    print("n, seed, logprobs:", [choice.message.content for choice in done.choices])

    stopped = client.chat.completions.create(model="coe", messages=ASKED, max_tokens=16, temperature=0, stop=["France"])
    assert stopped.choices[0].finish_reason == "stop"
    assert "France" not in (stopped.choices[0].message.content or "")
    stream = client.chat.completions.create(
        model="coe", messages=ASKED, max_tokens=8, temperature=0, stream=True, stream_options={"include_usage": True}
    )
    *_, last = stream
    assert last.usage is not None
    assert last.usage.completion_tokens == 8
    print("stop, usage of a stream:", last.usage.total_tokens, "tokens")


def ask_for_lists(client: OpenAI) -> None:
    prompts = ["The capital of France is", "One, two, three,"]
    done = client.completions.create(model="general", prompt=prompts, max_tokens=4, n=2, temperature=0, logprobs=1)
    assert [choice.index for choice in done.choices] == [0, 1, 2, 3]
    assert done.choices[0].text == done.choices[1].text
    assert all(choice.logprobs and choice.logprobs.token_logprobs for choice in done.choices)
    alone = client.completions.create(model="general", prompt=prompts[1], max_tokens=4, temperature=0, echo=True)
    assert alone.choices[0].text == prompts[1] + done.choices[2].text
    streamed = client.completions.create(model="general", prompt=prompts, max_tokens=4, temperature=0, stream=True)
    texts = ["", ""]
    for chunk in streamed:
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    assert texts == [done.choices[0].text, done.choices[2].text]
    print("lists of prompts:", texts)


def ask_for_vectors(client: OpenAI) -> None:
    texts = ["a small dog", "a little puppy", "the stock market"]
    whole = client.embeddings.create(model="coe", input=texts)  # the package asks for base64 by itself
    plain = client.embeddings.create(model="coe", input=texts, encoding_format="float", dimensions=64)
    vectors = [each.embedding for each in whole.data]
    near, far = (sum(a * b for a, b in zip(vectors[0], each, strict=True)) for each in vectors[1:])
    assert near > far
    assert all(len(each.embedding) == 64 for each in plain.data)
    assert math.isclose(sum(value * value for value in plain.data[0].embedding), 1, rel_tol=1e-3)
    print(f"embeddings by {whole.model}: {len(vectors[0])} numbers, {near:.3f} near and {far:.3f} far")


def ask_what_only_coe_knows(client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="coe",
        messages=ASKED,
        max_tokens=4,
        temperature=0,
        extra_body={"coe": {"expert": "general", "explain": True}, "top_k": -1},
    )
    extra = raw.parse().model_extra
    assert extra is not None
    assert raw.headers["x-coe-expert"] == "general" == extra["coe"]["expert"]
    print("extra_body coe:", extra["coe"]["because"])


def be_refused(client: OpenAI) -> None:
    misspelt = refusal(client, prompt="hi", extra_body={"max_token": 4})
    assert "max_tokens" in misspelt.message, misspelt
    too_long = refusal(client, prompt="word " * 20_000)
    assert too_long.code == "context_length_exceeded", too_long
    print("refused:", misspelt.message, "and", too_long.code)


def refusal(client: OpenAI, **fields: Any) -> BadRequestError:
    try:
        client.completions.create(model="general", **fields)
    except BadRequestError as error:
        return error
    raise SystemExit(f"{list(fields)} were taken")


if __name__ == "__main__":
    main()
