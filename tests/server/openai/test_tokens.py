"""Token ids over HTTP: there and back, as prompts, and what they are refused for."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from server_live import Live, post

HELLO = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture(scope="module")
def client(live: Live) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0)


def asked(live: Live, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    answer = post(live, path, body)
    found: dict[str, Any] = answer.json()
    return answer.status_code, found


def tokens_of(live: Live, text: str, model: str = "general") -> list[int]:
    status, body = asked(live, "/tokenize", {"model": model, "prompt": text})
    assert status == 200, body
    assert body["model"] == model
    assert body["count"] == len(body["tokens"])
    assert body["max_model_len"] > body["count"]
    tokens: list[int] = body["tokens"]
    return tokens


def test_text_becomes_tokens_and_text_again(live: Live) -> None:
    status, body = asked(live, "/detokenize", {"model": "other", "tokens": tokens_of(live, "The quick brown", "other")})
    assert (status, body) == (200, {"model": "other", "prompt": "The quick brown"})


def test_a_conversation_is_counted_as_its_answer_counts_it(live: Live, client: openai.OpenAI) -> None:
    status, body = asked(live, "/tokenize", {"messages": HELLO, "return_token_strs": True})
    answer = client.chat.completions.create(model="coe", messages=HELLO, max_tokens=1)  # type: ignore[arg-type]
    assert (status, body["model"]) == (200, answer.model)
    assert answer.usage is not None
    assert body["count"] == len(body["token_strs"]) == answer.usage.prompt_tokens


def test_a_list_of_prompts_is_answered_as_each_alone_is(live: Live, client: openai.OpenAI) -> None:
    prompts = ["The quick brown", "one two three", "The"]
    alone = [client.completions.create(model="general", prompt=each, max_tokens=6, temperature=0) for each in prompts]
    together = client.completions.create(model="general", prompt=prompts, max_tokens=6, temperature=0, n=2)
    assert [choice.index for choice in together.choices] == list(range(6))
    assert [choice.text for choice in together.choices] == [each.choices[0].text for each in alone for _ in range(2)]
    assert together.usage is not None
    assert together.usage.prompt_tokens == sum(each.usage.prompt_tokens for each in alone if each.usage)
    assert together.usage.completion_tokens == 36
    as_tokens = [tokens_of(live, each) for each in prompts]
    again = client.completions.create(model="general", prompt=as_tokens, max_tokens=6, temperature=0)
    assert [choice.text for choice in again.choices] == [each.choices[0].text for each in alone]


def test_a_streamed_list_has_each_prompts_text_under_its_index(client: openai.OpenAI) -> None:
    prompts = ["The quick brown", "one two three"]
    fields: dict[str, Any] = {"model": "coe", "prompt": prompts, "max_tokens": 6, "temperature": 0, "echo": True}
    whole = client.completions.create(**fields)
    texts = ["", ""]
    usage = None
    for chunk in client.completions.create(**fields, stream=True, stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    assert texts == [choice.text for choice in whole.choices]
    assert [text.startswith(prompt) for text, prompt in zip(texts, prompts, strict=True)] == [True, True]
    assert usage == whole.usage
    decided = (whole.model_extra or {})["coe"]["prompts"]
    assert [each["expert"] for each in decided] == [whole.model, whole.model]


def test_scores_of_token_prompts_are_those_of_the_texts(live: Live, client: openai.OpenAI) -> None:
    """As lm-eval asks: batches of token ids with `echo` and `logprobs`."""
    texts = ["The quick brown fox", "one two"]
    fields: dict[str, Any] = {"model": "general", "max_tokens": 1, "temperature": 0, "echo": True, "logprobs": 1}
    by_text = [client.completions.create(prompt=text, **fields).choices[0].logprobs for text in texts]
    answer = client.completions.create(prompt=[tokens_of(live, text) for text in texts], **fields)
    for choice, alone in zip(answer.choices, by_text, strict=True):
        assert choice.logprobs is not None
        assert alone is not None
        assert choice.logprobs.tokens == alone.tokens
        assert choice.logprobs.token_logprobs == pytest.approx(alone.token_logprobs, abs=1e-5)


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/v1/completions", {"prompt": [1, 2]}, "name the expert"),
        ("/v1/completions", {"prompt": [1, -2], "model": "general"}, "list of token ids"),
        ("/v1/completions", {"prompt": [10**9], "model": "general"}, "10000"),
        ("/v1/completions", {"prompt": [1] * 100_000, "model": "general"}, "100000"),
        ("/v1/completions", {"prompt": [], "model": "general"}, "empty"),
        ("/v1/completions", {"prompt": ["a", ""], "model": "general"}, "empty"),
        ("/v1/completions", {"prompt": ["a", [True]], "model": "general"}, "list of token ids"),
        ("/v1/completions", {"prompt": ["a"] * 2049, "model": "general"}, "2,048"),
        ("/v1/completions", {"prompt": "a", "suffix": "b"}, "suffix"),
        ("/tokenize", {}, "prompt"),
        ("/tokenize", {"prompt": "a", "messages": HELLO}, "not both"),
        ("/tokenize", {"promt": "a"}, "prompt"),
        ("/detokenize", {"model": "general", "tokens": [10**9]}, "10000"),
        ("/detokenize", {"model": "coe", "tokens": [1]}, "name the expert"),
        ("/detokenize", {"model": "general", "tokens": []}, "tokens"),
    ],
)
def test_what_is_refused_names_the_value_and_the_remedy(live: Live, path: str, body: dict[str, Any], said: str) -> None:
    status, answer = asked(live, path, body)
    assert status == 400
    assert said in answer["error"]["message"]


def test_models_say_what_they_are(client: openai.OpenAI) -> None:
    models = {model.id: model.model_extra or {} for model in client.models.list()}
    assert models["coe"]["kind"] == "composition"
    assert models["general"]["kind"] == "chat"
    assert models["general"]["max_model_len"] > 0
    assert models["general"]["num_parameters"] > 0
