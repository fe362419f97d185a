"""How likely continuations are: the runtime against transformers, whole and in chunks, on both paths."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import torch
from compositions import ask, integrity, with_runtime, write_config
from transformers import AutoModelForCausalLM, AutoTokenizer

from coe.errors import ContextLengthError, InvalidRequestError
from coe.runtime import Runtime
from coe.types import GenerateRequest, Likelihood, Message

PROMPTS = ("What is the capital of France?", "one two three four five six seven " * 6)
CONTINUATIONS = ("Paris", " and a much longer answer, with Straße and 🎉 in it, over many tokens", "B")
SHAPES = ("llama", "qwen3", "gpt2")


def request(expert: str, prompt: str, request_id: str = "s") -> GenerateRequest:
    return GenerateRequest(request_id, messages=(Message("user", prompt),), expert=expert)


def expected(folder: Path, prompt: str, continuation: str) -> tuple[list[int], list[float]]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    turns = [{"role": "user", "content": prompt}]
    text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    prompt_ids = tokenizer.encode(text, add_special_tokens=False)
    follow_ids = tokenizer.encode(continuation, add_special_tokens=False)
    with torch.inference_mode():
        logprobs = torch.log_softmax(model(torch.tensor([prompt_ids + follow_ids])).logits[0], dim=-1)
    rows = logprobs[len(prompt_ids) - 1 : -1]
    return follow_ids, [float(row[token_id]) for row, token_id in zip(rows, follow_ids, strict=True)]


@pytest.mark.parametrize("max_step_tokens", [512, 7])
def test_likelihoods_are_transformers_beside_other_work(
    tmp_path: Path, request: pytest.FixtureRequest, max_step_tokens: int
) -> None:
    folders = {shape: request.getfixturevalue(f"{shape}_folder") for shape in SHAPES}
    config = write_config(tmp_path, folders, f"max_step_tokens = {max_step_tokens}")

    async def work(runtime: Runtime) -> dict[tuple[str, str], list[Likelihood]]:
        asked = [(shape, prompt) for shape in SHAPES for prompt in PROMPTS]
        scoring = [likelihoods(runtime, shape, prompt) for shape, prompt in asked]
        chatting = [ask(runtime, shape, PROMPTS[0], 24) for shape in SHAPES]
        alone = [await ask(runtime, shape, PROMPTS[0], 24) for shape in SHAPES]
        found = await asyncio.gather(asyncio.gather(*scoring), asyncio.gather(*chatting))
        await integrity(runtime)
        assert list(found[1]) == alone
        return dict(zip(asked, found[0], strict=True))

    for (shape, prompt), found in with_runtime(config, work).items():
        for continuation, likelihood in zip(CONTINUATIONS, found, strict=True):
            token_ids, logprobs = expected(folders[shape], prompt, continuation)
            assert list(likelihood.token_ids) == token_ids
            assert likelihood.logprobs == pytest.approx(logprobs, abs=1e-4)
            assert likelihood.total == pytest.approx(sum(logprobs), abs=1e-3)
            assert likelihood.mean == pytest.approx(sum(logprobs) / len(logprobs), abs=1e-4)


async def likelihoods(runtime: Runtime, shape: str, prompt: str) -> list[Likelihood]:
    return await runtime.likelihoods(request(shape, prompt, f"{shape}-{len(prompt)}"), CONTINUATIONS)


def test_continuations_without_tokens_or_room_are_refused(tmp_path: Path, llama_folder: Path) -> None:
    async def work(runtime: Runtime) -> None:
        with pytest.raises(InvalidRequestError, match="empty"):
            await runtime.likelihoods(request("llama", "hello"), ["fine", ""])
        with pytest.raises(ContextLengthError, match="512"):
            await runtime.likelihoods(request("llama", "hello"), ["word " * 600])
        assert len(await runtime.likelihoods(request("llama", "hello"), ["fine"])) == 1
        assert await runtime.likelihoods(request("llama", "hello"), []) == []

    with_runtime(write_config(tmp_path, {"llama": llama_folder}), work)
