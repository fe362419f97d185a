"""The real 135M model and a real fine-tune: our answers are transformers' own, token for token, in float32."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import torch
from compositions import ask, with_runtime, write_config
from transformers import AutoModelForCausalLM, AutoTokenizer

from coe.config.paths import cache_dir
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
        await runtime.operator.unload("intent")
        together = await asyncio.gather(*(ask(runtime, expert, prompt, NUM_TOKENS) for expert, prompt in pairs))
        return alone + together

    answers = with_runtime(config, work)
    for (expert, prompt), ours in zip(pairs * 2, answers, strict=True):
        theirs, gap = transformers_tokens(expert, prompt, ours)
        assert ours == theirs or gap <= 1e-4, (expert, prompt)


TWENTY = (
    "What is the capital of France?",
    "Explain photosynthesis to a child in two sentences.",
    "Write a haiku about the sea.",
    "If a train leaves at 3 pm and drives for 2 hours, when does it arrive?",
    "Translate to German: Good morning, my friend.",
    "List three uses of copper.",
    "def add(a, b): complete this Python function.",
    "Who wrote Hamlet?",
    "What is 17 plus 25?",
    "Summarise: The harbour lay quiet under a thin rain, and three boats were tied to the pier.",
    "Name a mammal that lays eggs.",
    "Why is the sky blue?",
    "Give me a synonym for happy.",
    "What does HTTP stand for?",
    "Is a tomato a fruit or a vegetable?",
    "Wie geht es dir heute?",
    "Write a SQL query that counts the rows of a table named orders.",
    "What should I pack for a weekend in the mountains?",
    "Continue: Once upon a time there was a lighthouse keeper who",
    "How many legs does a spider have? " * 12,
)
FEW_TOKENS = 12


def transformers_choices(tokenizer: object, model: object, prompt: str, ours: list[int]) -> bool:
    """Whether every token is transformers' greedy one after those before it, or within 1e-4 of its logit."""
    turns = [{"role": "user", "content": prompt}]
    ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)[  # type: ignore[attr-defined]
        "input_ids"
    ]
    whole = torch.cat((ids, torch.tensor([ours])), 1)
    with torch.inference_mode():
        logits = model(whole).logits[0, ids.shape[1] - 1 : -1]  # type: ignore[operator]
    return bool((logits.max(1).values - logits.gather(1, torch.tensor(ours)[:, None])[:, 0] <= 1e-4).all())


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_twenty_prompts_alone_batched_in_chunks_with_reuse_and_recomputed(tmp_path: Path, device: str) -> None:
    config = write_config(tmp_path, {"general": BASE, "intent": ADAPTER}, "max_step_tokens = 48")
    text = config.read_text().replace(f'intent = "{ADAPTER}"', "").replace('"64MB"', '"4GB"')
    text = text.replace('device = "cpu"', f'device = "{device}"')
    config.write_text(f'{text}\n[experts.intent]\nsource = "{ADAPTER}"\nbase = "general"\n')

    async def work(runtime: Runtime) -> list[list[list[int]]]:
        engine = runtime.engine

        def preempt_all() -> None:
            scheduler = engine._scheduler
            for job in [job for job in scheduler.queues.jobs.values() if job.num_generated > 4]:
                if not scheduler.queues.is_in_step(job):
                    engine._do(scheduler.preempt(job))
            engine.check_integrity()

        together = await asyncio.gather(*(ask(runtime, "general", prompt, FEW_TOKENS) for prompt in TWENTY))
        tasks = [asyncio.create_task(ask(runtime, "general", prompt, FEW_TOKENS)) for prompt in TWENTY]
        other = asyncio.create_task(ask(runtime, "intent", PROMPTS[1], FEW_TOKENS))  # a switch in between
        while not all(task.done() for task in tasks):
            await asyncio.wrap_future(engine.call(preempt_all))
        await other
        alone = [await ask(runtime, "general", prompt, FEW_TOKENS) for prompt in TWENTY[: 20 if device == "cpu" else 4]]
        return [list(together), [task.result() for task in tasks], alone]

    found = with_runtime(config, work)
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32).eval()
    wrong = [
        prompt
        for answers in found
        for prompt, ours in zip(TWENTY, answers, strict=False)
        if not transformers_choices(tokenizer, model, prompt, ours)
    ]
    assert wrong == []
