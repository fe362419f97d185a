"""Greedy float32 answers equal transformers' own `generate`, whatever happens around them.

Products of another batch size may differ in the last bit, so a divergence counts as allowed where transformers' two
best logits are within 1e-4 of each other; such cases are counted and shown.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import torch
from compositions import ask, integrity, with_runtime, write_config
from processors import fake_processor
from transformers import AutoModelForCausalLM, AutoTokenizer

from coe.runtime import Runtime

PROMPTS = (
    "What is the capital of France?",
    "SELECT name FROM customers",
    "Müller wohnt in der Straße 7.",
    "one two three four five six seven eight nine ten " * 6,
)
NUM_TOKENS = 64
SHAPES = ("llama", "untied_llama", "qwen2", "qwen3", "mistral", "gpt2")


class Reference:
    """transformers' own model and what it says."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self._answers: dict[str, list[int]] = {}

    def tokens(self, prompt: str) -> list[int]:
        if prompt not in self._answers:
            ids = self._ids(prompt)
            with torch.inference_mode():
                out = self.model.generate(ids, max_new_tokens=NUM_TOKENS, do_sample=False)
            self._answers[prompt] = out[0, ids.shape[1] :].tolist()
        return self._answers[prompt]

    def allows(self, prompt: str, ours: list[int]) -> bool:
        """Whether ours is the reference up to a tie of the two best logits."""
        theirs = self.tokens(prompt)
        at = next((at for at, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), None)
        if at is None:
            return len(ours) == len(theirs)
        ids = torch.cat((self._ids(prompt), torch.tensor([theirs[:at]], dtype=torch.long)), dim=1)
        with torch.inference_mode():
            best = self.model(ids).logits[0, -1].topk(2).values
        print(f"divergence at token {at}, logits {best.tolist()}")
        return bool(best[0] - best[1] <= 1e-4)

    def _ids(self, prompt: str) -> torch.Tensor:
        turns = [{"role": "user", "content": prompt}]
        encoded: Any = self.tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        ids: torch.Tensor = encoded["input_ids"]
        return ids


@pytest.fixture(scope="module")
def folders(request: pytest.FixtureRequest) -> dict[str, Path]:
    return {shape: request.getfixturevalue(f"{shape}_folder") for shape in SHAPES}


@pytest.fixture(scope="module")
def references(folders: dict[str, Path]) -> dict[str, Reference]:
    return {shape: Reference(folder) for shape, folder in folders.items()}


@pytest.mark.parametrize(("device", "is_compiled"), [("cpu", True), ("cpu", False), ("emulated", True)])
def test_answers_equal_transformers_alone_batched_and_across_switches(
    tmp_path: Path,
    folders: dict[str, Path],
    references: dict[str, Reference],
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    is_compiled: bool,
) -> None:
    if not is_compiled:  # as without numba, on a GPU, or in bfloat16
        fake_processor(monkeypatch, has_compiler=False)
    config = write_config(tmp_path, folders, f"max_step_tokens = 40\nmax_batch_size = 8\ndevice = '{device}'")
    config.write_text(config.read_text().replace('device = "cpu"\n', ""))

    async def work(runtime: Runtime) -> dict[tuple[str, str, str], list[int]]:
        found: dict[tuple[str, str, str], list[int]] = {}
        for shape in SHAPES:
            for prompt in PROMPTS:
                found["alone", shape, prompt] = await ask(runtime, shape, prompt, NUM_TOKENS)
        for shape in SHAPES:  # everything out of memory, then all at once: cold loads, mixed batches, chunked prompts
            await runtime.operator.unload(shape)
            await integrity(runtime)
        pairs = [(shape, prompt) for prompt in PROMPTS for shape in SHAPES]
        answers = await asyncio.gather(*(ask(runtime, shape, prompt, NUM_TOKENS) for shape, prompt in pairs))
        found.update({("together", *pair): answer for pair, answer in zip(pairs, answers, strict=True)})
        return found

    found = with_runtime(config, work)
    wrong = [key for key, ours in found.items() if not references[key[1]].allows(key[2], ours)]
    assert wrong == []
    assert len(found) == 2 * len(SHAPES) * len(PROMPTS)


def test_answers_survive_eviction_by_others(
    tmp_path: Path, folders: dict[str, Path], references: dict[str, Reference]
) -> None:
    """A budget that holds one expert at a time: every switch evicts, every answer is computed from re-read bytes."""
    config = write_config(tmp_path, folders)
    text = config.read_text().replace('host_bytes = "64MB"', 'host_bytes = "8MB"')
    config.write_text(text.replace("num_threads = 1", 'num_threads = 1\nkv_bytes = "7MB"'))

    async def work(runtime: Runtime) -> list[tuple[str, list[int]]]:
        answers = []
        for shape in (*SHAPES, *SHAPES):
            answers.append((shape, await ask(runtime, shape, PROMPTS[0], NUM_TOKENS)))
            await integrity(runtime)
        loads = {status.name: status.num_loads for status in runtime.operator.experts()}
        assert sum(loads.values()) > len(SHAPES), f"nothing was ever re-loaded: {loads}"
        return answers

    for shape, ours in with_runtime(config, work):
        assert references[shape].allows(PROMPTS[0], ours)


def test_same_seed_same_tokens_alone_and_in_a_batch(tmp_path: Path, folders: dict[str, Path]) -> None:
    config = write_config(tmp_path, {"llama": folders["llama"], "qwen3": folders["qwen3"]})

    async def work(runtime: Runtime) -> tuple[list[int], list[list[int]]]:
        settings = {"temperature": 0.9, "top_p": 0.95, "seed": 7}
        alone = await ask(runtime, "llama", PROMPTS[0], 32, **settings)
        others = [ask(runtime, "llama", prompt, 32, temperature=1.0) for prompt in PROMPTS]
        together = await asyncio.gather(ask(runtime, "llama", PROMPTS[0], 32, **settings), *others)
        return alone, together

    alone, together = with_runtime(config, work)
    assert together[0] == alone
