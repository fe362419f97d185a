"""The real 135M model and a real fine-tune: our answers are transformers' own, token for token, in float32."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import torch
from compositions import ask, with_runtime, write_config
from transformers import AutoModelForCausalLM, AutoTokenizer

from coe.config import cache_dir
from coe.runtime import Runtime

BASE = cache_dir() / "demo" / "SmolLM2-135M-Instruct"
ADAPTER = Path(__file__).parents[2] / "examples" / "demo" / "adapters" / "intent"
PROMPTS = ("What is the capital of France?", "Intent of this request: what is the weather in Rome", "Write a haiku.")
NUM_TOKENS = 64

pytestmark = pytest.mark.skipif(not BASE.is_dir(), reason="the demo's base is not built; run `make demo`")


def transformers_tokens(expert: str, prompt: str, tokens: list[int]) -> tuple[list[int], float]:
    """transformers' greedy tokens, and how far apart the two best logits are where ours first differ (inf: nowhere)."""
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32).eval()
    if expert == "intent":
        peft = pytest.importorskip("peft", reason="comparing a fine-tune needs peft")
        model = peft.PeftModel.from_pretrained(model, ADAPTER).merge_and_unload()
    turns = [{"role": "user", "content": prompt}]
    ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)[
        "input_ids"
    ]
    with torch.inference_mode():
        theirs = model.generate(ids, max_new_tokens=NUM_TOKENS, do_sample=False)[0, ids.shape[1] :].tolist()
        at = next((at for at, (a, b) in enumerate(zip(tokens, theirs, strict=False)) if a != b), None)
        if at is None:
            return theirs, float("inf")
        best = model(torch.cat((ids, torch.tensor([theirs[:at]], dtype=torch.long)), 1)).logits[0, -1].topk(2).values
    return theirs, float(best[0] - best[1])


def test_real_models_answer_as_in_transformers_alone_and_together(tmp_path: Path) -> None:
    config = write_config(tmp_path, {"general": BASE, "intent": ADAPTER})
    text = config.read_text().replace(f'intent = "{ADAPTER}"', "").replace('host_bytes = "64MB"', 'host_bytes = "3GB"')
    config.write_text(f'{text}\n[experts.intent]\nsource = "{ADAPTER}"\nbase = "general"\n')
    pairs = [("general", PROMPTS[0]), ("intent", PROMPTS[1]), ("general", PROMPTS[2])]

    async def work(runtime: Runtime) -> list[list[int]]:
        alone = [await ask(runtime, expert, prompt, NUM_TOKENS) for expert, prompt in pairs]
        await runtime.unload("intent")
        together = await asyncio.gather(*(ask(runtime, expert, prompt, NUM_TOKENS) for expert, prompt in pairs))
        return alone + together

    answers = with_runtime(config, work)
    for (expert, prompt), ours in zip(pairs * 2, answers, strict=True):
        theirs, gap = transformers_tokens(expert, prompt, ours)
        assert ours == theirs or gap <= 1e-4, (expert, prompt)
