"""Trains one LoRA expert of the demo on the rows of its domain.

Owns the recipe of each shipped adapter and the training loop: loss on the assistant's tokens alone, batches of
similar length, logits computed only where an answer is predicted. Reads only rows of the train split; a few of them
are held out to report a loss. Knows nothing about scores: whether an adapter ships is decided by score_experts.py.
"""

import argparse
import json
import math
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer

from coe.config.catalog import ExpertSpec
from coe.config.paths import cache_dir
from coe.weights.store.importer import record_base

from .build import demo_folder
from .encode import IGNORED, Batch, Example, answer_states, collate, encode_example
from .rows import DEFAULT_DATA, load_rows, sample

ADAPTERS = Path(__file__).resolve().parent / "adapters"
BASE_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one adapter is trained; longer rows than `max_tokens` are skipped and counted.

    `source` keeps only the rows whose source ends with it, where a domain's sources differ in licence.
    """

    num_rows: int
    max_tokens: int
    epochs: int = 1
    rank: int = 8
    learning_rate: float = 1e-3
    batch_tokens: int = 1024
    warmup_share: float = 0.05
    num_held_out: int = 48
    seed: int = 0
    source: str = ""


RECIPES = {
    # of the eight sets, the one that states a licence (CC-BY-4.0)
    "sql": Recipe(num_rows=800, max_tokens=256, source="advising"),
    "reasoning": Recipe(num_rows=1600, max_tokens=256),
    "tools": Recipe(num_rows=700, max_tokens=192),
    "intent": Recipe(num_rows=2400, max_tokens=96),
    "math": Recipe(num_rows=1000, max_tokens=200),
    "code": Recipe(num_rows=600, max_tokens=192),
}


class Material(NamedTuple):
    """What one run trains on, what it reports its loss on, and how many rows were too long for it."""

    train: list[Example]
    held_out: list[Example]
    num_skipped: int


@dataclass(frozen=True, slots=True)
class Report:
    """What a run did, for the recipe table in docs/demo.md."""

    expert: str
    recipe: Recipe
    num_rows: int
    num_skipped: int
    num_steps: int
    num_tokens: int
    took_s: float
    held_out_loss_before: float
    held_out_loss_after: float
    device: str
    num_threads: int
    torch_version: str


def select(expert: str, recipe: Recipe, data: Path, tokenizer: Any) -> Material:
    """A seeded sample of the train rows that are short enough, the last of it held out."""
    rows = [row for row in load_rows(data, experts=[expert], split="train") if row.source.endswith(recipe.source)]
    examples = [encode_example(tokenizer, row.prompt, row.answer) for row in rows]
    fitting = [example for example in examples if example.num_tokens <= recipe.max_tokens]
    chosen = sample(fitting, recipe.num_rows + recipe.num_held_out, seed=recipe.seed)
    held_out = chosen[-recipe.num_held_out :]
    return Material(chosen[: -recipe.num_held_out], held_out, len(examples) - len(fitting))


def batches(examples: Sequence[Example], batch_tokens: int, rng: random.Random) -> list[list[Example]]:
    """Neighbours in length share a batch of at most `batch_tokens` padded tokens; batches come in random order."""
    ordered = sorted(examples, key=lambda example: (example.num_tokens, rng.random()))
    groups: list[list[Example]] = [[]]
    for example in ordered:
        if groups[-1] and example.num_tokens * (len(groups[-1]) + 1) > batch_tokens:
            groups.append([])
        groups[-1].append(example)
    rng.shuffle(groups)
    return groups


def answer_loss(model: Any, batch: Batch, device: torch.device) -> Tensor:
    """Mean negative log-likelihood per predicted token; the head runs at those positions only."""
    hidden = answer_states(model, batch, device)  # (batch, length, hidden)
    labels = batch.labels.to(device)
    predicts = labels != IGNORED
    return functional.cross_entropy(model.lm_head(hidden[predicts]).float(), labels[predicts])


@torch.no_grad()
def held_out_loss(model: Any, examples: Sequence[Example], batch_tokens: int, device: torch.device) -> float:
    """Mean over batches, weighted by predicted tokens."""
    total, count = 0.0, 0
    for group in batches(examples, batch_tokens, random.Random(0)):
        batch = collate(group, with_end=True)
        num_predicted = int((batch.labels != IGNORED).sum())
        total += answer_loss(model, batch, device).item() * num_predicted
        count += num_predicted
    return total / count


def rate(step: int, num_steps: int, recipe: Recipe) -> float:
    """Share of the learning rate at a step: linear warm-up, then cosine to zero."""
    warmup = max(1, round(recipe.warmup_share * num_steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, num_steps - warmup)))


def with_adapter(base: Path, rank: int, start: Path | None, device: torch.device) -> Any:
    """The base in float32 with an adapter on every linear projection: a fresh one, or the one in folder `start`."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, local_files_only=True).to(device)
    if start is not None:
        return PeftModel.from_pretrained(model, start, is_trainable=True)
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=PROJECTIONS, task_type="CAUSAL_LM"
    )
    adapted = get_peft_model(model, config)
    adapted.peft_config["default"].base_model_name_or_path = BASE_ID
    return adapted


def schedule(material: Material, recipe: Recipe) -> Iterator[list[Example]]:
    """Every epoch's batches, one after another."""
    rng = random.Random(recipe.seed)
    for _ in range(recipe.epochs):
        yield from batches(material.train, recipe.batch_tokens, rng)


def train(adapted: Any, material: Material, recipe: Recipe, device: torch.device) -> int:
    """Runs every step and prints one line for each tenth; returns the number of steps."""
    groups = list(schedule(material, recipe))
    parameters = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=0.0)
    started_s, num_tokens = time.monotonic(), 0
    for step, group in enumerate(groups):
        for settings in optimizer.param_groups:
            settings["lr"] = recipe.learning_rate * rate(step, len(groups), recipe)
        batch = collate(group, with_end=True)
        loss = answer_loss(adapted.base_model.model, batch, device)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        num_tokens += sum(example.num_tokens for example in group)
        if step % 10 == 0 or step == len(groups) - 1:
            took_s = time.monotonic() - started_s
            print(
                f"step {step + 1}/{len(groups)} loss={loss.item():.4f} tokens={num_tokens} "
                f"took_s={took_s:.0f} tokens_per_s={num_tokens / took_s:.0f}",
                flush=True,
            )
    return len(groups)


def save(adapted: Any, folder: Path) -> None:
    """Writes the adapter in bf16 as PEFT's two files, all at once."""
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.bfloat16)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        adapted.save_pretrained(scratch)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name in ("adapter_model.safetensors", "adapter_config.json"):
            (Path(scratch) / name).rename(folder / name)


@dataclass(frozen=True, slots=True)
class Places:
    """Where a run reads from and writes to; `start` is an adapter to go on from."""

    base: Path
    data: Path
    out: Path
    start: Path | None


def run(expert: str, recipe: Recipe, places: Places, device: torch.device) -> Report:
    """Trains and saves one adapter."""
    torch.manual_seed(recipe.seed)
    tokenizer = AutoTokenizer.from_pretrained(places.base, local_files_only=True)
    material = select(expert, recipe, places.data, tokenizer)
    adapted = with_adapter(places.base, recipe.rank, places.start, device)
    inner = adapted.base_model.model
    before = held_out_loss(inner, material.held_out, recipe.batch_tokens, device)
    started_s = time.monotonic()
    num_steps = train(adapted, material, recipe, device)
    took_s = time.monotonic() - started_s
    after = held_out_loss(inner, material.held_out, recipe.batch_tokens, device)
    save(adapted, places.out)
    record_base(ExpertSpec(expert, str(places.out), places.base, places.base, places.out))
    return Report(
        expert=expert,
        recipe=recipe,
        num_rows=len(material.train),
        num_skipped=material.num_skipped,
        num_steps=num_steps,
        num_tokens=recipe.epochs * sum(example.num_tokens for example in material.train),
        took_s=round(took_s, 1),
        held_out_loss_before=round(before, 4),
        held_out_loss_after=round(after, 4),
        device=device.type,
        num_threads=torch.get_num_threads(),
        torch_version=torch.__version__,
    )


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; every field of Recipe can be overridden."""
    parser = argparse.ArgumentParser(prog="train_expert", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("expert", help=f"a domain of the data; recipes exist for {', '.join(RECIPES)}")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--base", type=Path, default=demo_folder(cache_dir()))
    parser.add_argument("--out", type=Path, help="folder of the adapter (default: adapters/<expert> beside this file)")
    parser.add_argument("--start", type=Path, help="folder of an adapter to go on from (default: a fresh one)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's own choice)")
    for name, kind in Recipe.__annotations__.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Trains one expert; the last line of the output is a JSON report."""
    options = parse(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    overrides = {name: value for name in Recipe.__annotations__ if (value := getattr(options, name)) is not None}
    known = asdict(RECIPES[options.expert]) if options.expert in RECIPES else {}
    recipe = Recipe(**(known | overrides))
    places = Places(options.base, options.data, options.out or ADAPTERS / options.expert, options.start)
    report = run(options.expert, recipe, places, torch.device(options.device))
    print(json.dumps(asdict(report)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
