"""The same proofs on a CUDA device: answers, accounting, copies. `make gpu-check` runs these."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import torch
from compositions import ask, integrity, with_runtime, write_config
from transformers import AutoModelForCausalLM, AutoTokenizer

from coe.runtime import Runtime

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
            await runtime.unload(shape)
        together = await asyncio.gather(*(ask(runtime, shape, PROMPT, NUM_TOKENS) for shape in SHAPES))
        return answers + list(zip(SHAPES, together, strict=True))

    for shape, ours in with_runtime(config, work):
        assert ours == transformers_tokens(folders[shape]), shape
