"""What people ask of sampling, through the official client, against transformers' own model."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest
import torch
from server_live import Live
from transformers import AutoModelForCausalLM, AutoTokenizer

PROMPT: Any = [{"role": "user", "content": "What is the capital of France?"}]
NUM_TOKENS = 16
EOS = 2  # <|im_end|>


@pytest.fixture(scope="module")
def client(live: Live) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0)


class Reference:
    """transformers' model of the expert `general`."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def prompt_ids(self) -> torch.Tensor:
        encoded = self.tokenizer.apply_chat_template(
            PROMPT, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        ids: torch.Tensor = encoded["input_ids"]
        return ids

    def generated(self, **options: Any) -> str:
        ids = self.prompt_ids()
        with torch.inference_mode():
            out = self.model.generate(ids, max_new_tokens=NUM_TOKENS, do_sample=False, **options)
        text: str = self.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
        return text

    def logprobs(self, ids: torch.Tensor) -> torch.Tensor:
        """(tokens, vocab): row t is about token t + 1."""
        with torch.inference_mode():
            return torch.log_softmax(self.model(ids).logits[0].float(), dim=-1)


@pytest.fixture(scope="module")
def reference(llama_folder: Path) -> Reference:
    return Reference(llama_folder)


def ask(client: openai.OpenAI, **options: Any) -> Any:
    return client.chat.completions.create(
        **{"model": "general", "messages": PROMPT, "temperature": 0, "max_tokens": NUM_TOKENS, **options}
    )


def text_of(answer: Any) -> str:
    text: str = answer.choices[0].message.content
    return text


def test_choices_are_numbered_differ_and_the_first_is_what_one_alone_would_be(client: openai.OpenAI) -> None:
    answer = ask(client, n=3, temperature=1.0, seed=5)
    texts = [choice.message.content for choice in answer.choices]
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert len(set(texts)) == 3
    alone = ask(client, temperature=1.0, seed=5)
    assert texts[0] == text_of(alone)
    assert texts == [choice.message.content for choice in ask(client, n=3, temperature=1.0, seed=5).choices]
    assert answer.usage.prompt_tokens == alone.usage.prompt_tokens
    full = ask(client, n=3, temperature=1.0, seed=5, extra_body={"ignore_eos": True})
    assert full.usage.completion_tokens == 3 * NUM_TOKENS
    assert full.usage.total_tokens == alone.usage.prompt_tokens + 3 * NUM_TOKENS


def test_streamed_choices_are_the_whole_ones(client: openai.OpenAI) -> None:
    options: dict[str, Any] = {"n": 3, "temperature": 1.0, "seed": 9, "logprobs": True, "top_logprobs": 2}
    whole = ask(client, **options)
    chunks = list(ask(client, **options, stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    for expected in whole.choices:
        pieces = [choice for chunk in chunks for choice in chunk.choices if choice.index == expected.index]
        assert "".join(piece.delta.content or "" for piece in pieces) == expected.message.content
        assert pieces[0].delta.role == "assistant"
        assert [piece.finish_reason for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
        assert pieces[-1].finish_reason == expected.finish_reason
        tokens = [token for piece in pieces if piece.logprobs for token in piece.logprobs.content]
        assert [token.token for token in tokens] == [token.token for token in expected.logprobs.content]
        assert len(tokens) == NUM_TOKENS


def test_seeded_text_is_the_same_whatever_else_is_in_the_batch(client: openai.OpenAI) -> None:
    options: dict[str, Any] = {"temperature": 1.2, "top_p": 0.95, "max_tokens": 40}
    alone = [text_of(ask(client, seed=seed, **options)) for seed in range(3)]
    busy = [{"seed": seed} for seed in range(3)] * 3 + [{"temperature": 0.0}, {"n": 2}, {"presence_penalty": 1.5}]
    with ThreadPoolExecutor(len(busy)) as pool:
        together = list(pool.map(lambda own: text_of(ask(client, **{**options, **own})), busy))
    assert together[:9] == alone * 3
    assert len(set(alone)) == 3


def test_logprobs_are_transformers_and_their_tokens_are_the_text(client: openai.OpenAI, reference: Reference) -> None:
    answer = ask(client, logprobs=True, top_logprobs=5)
    content = answer.choices[0].logprobs.content
    assert b"".join(bytes(token.bytes) for token in content).decode("utf-8", "replace") == text_of(answer)
    prompt_ids = reference.prompt_ids()
    assert len(content) == NUM_TOKENS
    with torch.inference_mode():
        out = reference.model.generate(prompt_ids, max_new_tokens=NUM_TOKENS, do_sample=False)
    expected = reference.logprobs(out)[prompt_ids.shape[1] - 1 : -1]
    for place, token in enumerate(content):
        values, _ = expected[place].topk(5)
        assert [top.logprob for top in token.top_logprobs] == pytest.approx(values.tolist(), abs=1e-4)
        assert token.logprob == token.top_logprobs[0].logprob
        assert token.token == token.top_logprobs[0].token


def test_no_logprobs_unless_asked_and_no_tops_unless_asked(client: openai.OpenAI) -> None:
    assert ask(client).choices[0].logprobs is None
    assert ask(client, logprobs=False).choices[0].logprobs is None
    assert all(token.top_logprobs == [] for token in ask(client, logprobs=True).choices[0].logprobs.content)


def test_tokens_cut_by_a_stop_string_have_no_logprobs(client: openai.OpenAI) -> None:
    text = text_of(ask(client))
    stop = text[4:7]
    options: dict[str, Any] = {"logprobs": True, "stop": [stop]}
    cut = ask(client, **options)
    kept = text[: text.index(stop)]
    assert text_of(cut) == kept
    shown = "".join(token.token for token in cut.choices[0].logprobs.content)
    assert shown.startswith(kept)
    last = cut.choices[0].logprobs.content[-1].token
    assert len(shown) - len(last) < len(kept)
    pieces = [choice for chunk in ask(client, **options, stream=True) for choice in chunk.choices]
    streamed = [token.token for piece in pieces if piece.logprobs for token in piece.logprobs.content]
    assert "".join(streamed) == shown


@pytest.mark.parametrize("penalty", [1.3, 0.8])
def test_repetition_penalty_gives_transformers_text(
    client: openai.OpenAI, reference: Reference, penalty: float
) -> None:
    answer = ask(client, extra_body={"repetition_penalty": penalty})
    assert text_of(answer) == reference.generated(repetition_penalty=penalty)
    assert text_of(answer) != reference.generated()


def test_presence_and_frequency_penalties_change_what_is_repeated(client: openai.OpenAI, reference: Reference) -> None:
    ids, counts = reference.prompt_ids(), torch.zeros(reference.model.config.vocab_size)
    output: list[int] = []
    for _ in range(NUM_TOKENS):
        with torch.inference_mode():
            logits = reference.model(ids).logits[0, -1] - 0.5 * counts - 1.5 * (counts > 0)
        output.append(int(logits.argmax()))
        counts[output[-1]] += 1
        ids = torch.cat((ids, torch.tensor([output[-1:]])), dim=1)
    expected = reference.tokenizer.decode(output, skip_special_tokens=True)
    assert text_of(ask(client, presence_penalty=1.5, frequency_penalty=0.5)) == expected


def test_bias_forces_and_bans(client: openai.OpenAI, reference: Reference) -> None:
    wanted = reference.tokenizer.encode("x")[0]
    assert text_of(ask(client, logit_bias={str(wanted): 100})) == "x" * NUM_TOKENS
    banned = ask(client, logit_bias={str(wanted): 100, str(EOS): -100}, max_tokens=3)
    assert text_of(banned) == "xxx"
    first = ask(client, logprobs=True, top_logprobs=2, max_tokens=1).choices[0].logprobs.content[0]
    ids = reference.logprobs(reference.prompt_ids())[-1].topk(2).indices.tolist()
    runner_up = ask(client, logit_bias={str(ids[0]): -100}, max_tokens=1, logprobs=True)
    assert runner_up.choices[0].logprobs.content[0].token == first.top_logprobs[1].token


def test_min_tokens_holds_back_the_end_and_ignore_eos_forgets_it(client: openai.OpenAI) -> None:
    ends = {"logit_bias": {str(EOS): 100}}
    at_once = ask(client, **ends)
    assert (at_once.choices[0].finish_reason, at_once.usage.completion_tokens, text_of(at_once)) == ("stop", 1, "")
    later = ask(client, **ends, extra_body={"min_tokens": 5}, logprobs=True)
    assert (later.choices[0].finish_reason, later.usage.completion_tokens) == ("stop", 6)
    assert len(later.choices[0].logprobs.content) == 5  # the end is not content
    never = ask(client, **ends, extra_body={"ignore_eos": True})
    assert (never.choices[0].finish_reason, never.usage.completion_tokens) == ("length", NUM_TOKENS)


def test_min_tokens_holds_back_stop_strings(client: openai.OpenAI) -> None:
    text = text_of(ask(client))
    stop = text[0]
    assert text_of(ask(client, stop=stop)) == ""
    answer = ask(client, stop=stop, extra_body={"min_tokens": 6}, logprobs=True)
    assert answer.usage.completion_tokens >= 6
    assert text_of(answer).startswith(text[:1])


def test_min_p_of_one_is_greedy(client: openai.OpenAI) -> None:
    answer = ask(client, temperature=1.5, extra_body={"min_p": 1.0})
    assert text_of(answer) == text_of(ask(client))


def test_echo_scores_the_prompt_alone_or_before_an_answer(client: openai.OpenAI, reference: Reference) -> None:
    prompt = "The quick brown fox jumps over the lazy dog"
    ids = reference.tokenizer(prompt, return_tensors="pt")["input_ids"]
    expected = reference.logprobs(ids)[:-1].gather(1, ids[0, 1:, None])[:, 0].tolist()
    options: dict[str, Any] = {"model": "general", "prompt": prompt, "temperature": 0, "echo": True, "logprobs": 2}
    scored = client.completions.create(**options, max_tokens=0)
    found = scored.choices[0].logprobs
    assert scored.choices[0].text == prompt == "".join(found.tokens)
    assert scored.usage.completion_tokens == 0
    assert found.token_logprobs[0] is None
    assert found.top_logprobs[0] is None
    assert found.token_logprobs[1:] == pytest.approx(expected, abs=1e-4)
    assert found.text_offset == [0, *itertools.accumulate(len(token) for token in found.tokens[:-1])]
    assert all(2 <= len(tops) <= 3 for tops in found.top_logprobs[1:])
    both = client.completions.create(**options, max_tokens=4)
    plain = client.completions.create(**{**options, "echo": False, "logprobs": None}, max_tokens=4)
    assert both.choices[0].text == prompt + plain.choices[0].text
    assert len(both.choices[0].logprobs.tokens) == ids.shape[1] + 4
    assert both.choices[0].logprobs.token_logprobs[1 : ids.shape[1]] == found.token_logprobs[1:]
    pieces = [chunk.choices[0] for chunk in client.completions.create(**options, max_tokens=4, stream=True)]
    assert "".join(piece.text for piece in pieces) == both.choices[0].text
    offsets = [offset for piece in pieces if piece.logprobs for offset in piece.logprobs.text_offset]
    assert offsets == both.choices[0].logprobs.text_offset


def test_completions_have_their_own_limits(client: openai.OpenAI) -> None:
    for wrong in ({"max_tokens": 0}, {"logprobs": 6}, {"best_of": 3}, {"n": 2, "best_of": 3}):
        with pytest.raises(openai.BadRequestError):
            client.completions.create(model="general", prompt="The", **wrong)
    two = client.completions.create(model="general", prompt="The", n=2, best_of=2, max_tokens=2, logprobs=0)
    assert [choice.index for choice in two.choices] == [0, 1]
