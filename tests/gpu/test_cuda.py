"""The same proofs on a CUDA device: answers, accounting, copies. `make gpu-check` runs these."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
import torch
from compositions import ask, integrity, with_runtime, write_config
from transformers import AutoModelForCausalLM, AutoTokenizer

from coe.engine.logits_processor import masked, processors_of
from coe.engine.sampling import Sampled, Sampler, Waiting, sample
from coe.runtime import Runtime
from coe.types import Sampling

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
SHAPES = ("llama", "untied_llama", "qwen2", "qwen3", "mistral", "gpt2")
PROMPT = "What is the capital of France?"
NUM_TOKENS = 32


def transformers_tokens(folder: Path) -> list[int]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval().cuda()
    turns = [{"role": "user", "content": PROMPT}]
    ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    out = model.generate(ids["input_ids"].cuda(), max_new_tokens=NUM_TOKENS, do_sample=False)
    tokens: list[int] = out[0, ids["input_ids"].shape[1] :].tolist()
    return tokens


def test_answers_equal_transformers_alone_together_and_after_eviction(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    torch.backends.cuda.matmul.allow_tf32 = False
    folders = {shape: request.getfixturevalue(f"{shape}_folder") for shape in SHAPES}
    config = write_config(tmp_path, folders)
    text = config.read_text().replace('device = "cpu"', 'device = "cuda"')
    config.write_text(text.replace('host_bytes = "64MB"', 'host_bytes = "64MB"\ndevice_bytes = "12MB"'))

    async def work(runtime: Runtime) -> list[tuple[str, list[int]]]:
        answers = [(shape, await ask(runtime, shape, PROMPT, NUM_TOKENS)) for shape in SHAPES]
        await integrity(runtime)
        for shape in SHAPES:
            await runtime.operator.unload(shape)
        together = await asyncio.gather(*(ask(runtime, shape, PROMPT, NUM_TOKENS) for shape in SHAPES))
        return answers + list(zip(SHAPES, together, strict=True))

    for shape, ours in with_runtime(config, work):
        assert ours == transformers_tokens(folders[shape]), shape


def test_masks_on_the_device_are_masks_on_the_cpu() -> None:
    logits = torch.randn(5, 49153)
    masks = {row: np.random.default_rng(row).integers(-(2**31), 2**31, 1537, dtype=np.int32) for row in (0, 3)}
    assert torch.equal(masked(logits.cuda(), masks).cpu(), masked(logits, masks))


def test_sampling_on_the_device_is_sampling_on_the_cpu() -> None:
    """Processors, filters, seeds and log-probabilities; draws within rounding of an edge would be a rare exception."""
    asked = [
        Sampling(temperature=0.0, num_logprobs=3),
        Sampling(temperature=1.0, seed=1),
        Sampling(temperature=1.2, top_p=0.9, seed=2, logit_bias={7: 2.0}, num_logprobs=0),
        Sampling(temperature=0.8, top_k=50, min_p=0.02, seed=3, repetition_penalty=1.3),
        Sampling(temperature=1.0, seed=4, presence_penalty=0.5, frequency_penalty=0.5, min_tokens=9),
    ]

    def chosen(device: str) -> list[list[Sampled]]:
        samplers = [Sampler(each, processors_of(each, (5, 6), (2,))) for each in asked]
        outputs: list[list[int]] = [[] for _ in asked]
        steps = []
        for step in range(20):
            logits = torch.randn(len(asked), 50_000, generator=torch.Generator().manual_seed(step)) * 3
            waiting = [Waiting(sampler, output) for sampler, output in zip(samplers, outputs, strict=True)]
            steps.append(sample(logits.to(device), waiting))
            for output, sampled in zip(outputs, steps[-1], strict=True):
                output.append(sampled.token_id)
        return steps

    for ours, theirs in zip(chosen("cuda"), chosen("cpu"), strict=True):
        assert [one.token_id for one in ours] == [one.token_id for one in theirs]
        for one, other in zip(ours, theirs, strict=True):
            assert (one.logprob is None) == (other.logprob is None)
            if one.logprob is not None and other.logprob is not None:
                assert one.logprob.logprob == pytest.approx(other.logprob.logprob, abs=1e-4)
                assert [token for token, _ in one.logprob.top] == [token for token, _ in other.logprob.top]
