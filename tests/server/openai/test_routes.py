"""OpenAI's endpoints through OpenAI's own client, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest
import torch
from server_live import Live, post
from transformers import AutoModelForCausalLM, AutoTokenizer

PROMPT = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture(scope="module")
def client(live: Live) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0)


def transformers_text(folder: Path, num_tokens: int) -> str:
    """What transformers' own greedy `generate` says to the prompt."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = tokenizer.apply_chat_template(PROMPT, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    out = model.generate(**ids, max_new_tokens=num_tokens, do_sample=False)
    return tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)


def test_openai_client_gets_transformers_text_from_two_experts(
    client: openai.OpenAI, llama_folder: Path, other_llama_folder: Path
) -> None:
    for model, folder in (("coe", llama_folder), ("other", other_llama_folder), ("general", llama_folder)):
        answer = client.chat.completions.create(model=model, messages=PROMPT, temperature=0, max_tokens=24)
        assert answer.choices[0].message.content == transformers_text(folder, 24)
        assert answer.model == ("other" if model == "other" else "general")
        assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_streamed_text_equals_whole_text(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="other", messages=PROMPT, temperature=0, max_tokens=24)
    stream = client.chat.completions.create(
        model="other",
        messages=PROMPT,
        temperature=0,
        max_tokens=24,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason == "length"


def test_completions_continue_plain_text(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="general", prompt="The quick brown", max_tokens=5, temperature=0)
    stream = client.completions.create(
        model="general", prompt="The quick brown", max_tokens=5, temperature=0, stream=True
    )
    assert "".join(chunk.choices[0].text for chunk in stream) == answer.choices[0].text
    assert answer.object == "text_completion"


def test_stop_string_ends_the_text_before_it(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="other", messages=PROMPT, temperature=0, max_tokens=24)
    text = whole.choices[0].message.content or ""
    stop = text[3:6]
    cut = client.chat.completions.create(model="other", messages=PROMPT, temperature=0, max_tokens=24, stop=stop)
    assert cut.choices[0].message.content == text[: text.index(stop)]
    assert cut.choices[0].finish_reason == "stop"


def test_models_lists_the_composition_and_every_expert(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["coe", "general", "other"]
    assert client.models.retrieve("other").id == "other"


@pytest.mark.parametrize(
    ("body", "status", "param", "code"),
    [
        (b"{not json", 400, None, None),
        (b"[]", 400, None, None),
        ({"messages": []}, 400, "messages", None),
        ({}, 400, "messages", None),
        ({"messages": PROMPT, "temperature": 3}, 400, "temperature", None),
        ({"messages": PROMPT, "max_tokens": 0}, 400, "max_tokens", None),
        ({"messages": PROMPT, "n": 0}, 400, "n", None),
        ({"messages": PROMPT, "n": 129}, 400, "n", None),
        ({"messages": PROMPT, "top_logprobs": 3}, 400, "top_logprobs", None),
        ({"messages": PROMPT, "logprobs": True, "top_logprobs": 21}, 400, "top_logprobs", None),
        ({"messages": PROMPT, "logit_bias": {"5": 101}}, 400, "logit_bias", None),
        ({"messages": PROMPT, "logit_bias": {"word": 1}}, 400, "logit_bias", None),
        ({"messages": PROMPT, "logit_bias": {"99999": 1}}, 400, "logit_bias", None),
        ({"messages": PROMPT, "presence_penalty": 2.1}, 400, "presence_penalty", None),
        ({"messages": PROMPT, "frequency_penalty": -2.1}, 400, "frequency_penalty", None),
        ({"messages": PROMPT, "repetition_penalty": 0}, 400, "repetition_penalty", None),
        ({"messages": PROMPT, "min_p": 1.5}, 400, "min_p", None),
        ({"messages": PROMPT, "min_tokens": 9, "max_tokens": 8}, 400, "min_tokens", None),
        ({"messages": PROMPT, "tools": [{"type": "function"}]}, 400, "tools", None),
        ({"messages": [{"role": "robot", "content": "hi"}]}, 400, "messages", None),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "messages", None),
        ({"messages": PROMPT, "stop": ["a", "b", "c", "d", "e"]}, 400, "stop", None),
        ({"messages": PROMPT, "model": "nobody"}, 404, "model", "model_not_found"),
        (
            {"messages": [{"role": "user", "content": "word " * 2000}], "model": "other"},
            400,
            "messages",
            "context_length_exceeded",
        ),
    ],
)
def test_bad_request_is_refused_by_name(
    live: Live, body: object, status: int, param: str | None, code: str | None
) -> None:
    response = post(live, "/v1/chat/completions", body)
    error = response.json()["error"]
    assert (response.status_code, error["param"], error["code"]) == (status, param, code)
    assert error["type"] == "invalid_request_error"
    assert error["message"]
