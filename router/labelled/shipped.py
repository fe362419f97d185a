"""The training prompts of the shipped router: the authored ones, and public rows whose licence allows it.

Owns the choice of rows. A prompt of the category "intent" is a request under an instruction to name its intent, in
several forms. Knows nothing about encoders or how training works.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from router.labelled.authored import CONTEXT_FAMILY, authored, authored_prompts
from router.labelled.conversations import instructed_prompts, wrapped_prompts
from router.labelled.prompts import Prompt, PromptSet, merged, prompts_in
from router.labelled.rows import RawRow, read_rows
from router.model.system_turn import under_system

__all__ = ["public_prompts", "shipped_prompts"]

ROUTER_FILE = "router_prompts.jsonl.gz"
MORE_FILES = ("router_multilingual.jsonl.gz", "router_longform.jsonl.gz")  # no split: all rows are for training
TUNING_FILE = "expert_tuning.jsonl.gz"
EVERY_NTH = {"intent": 5, "reasoning": 4, "medicine": 1}  # 1,200 of 6,000 rows, 1,100 of 4,400, all 618
INTENT_PREFIX = "Intent of this request: "
INTENT_FORMS = (
    "Intent of this request: {}",
    "What is the intent of this request? {}",
    "intent: {}",
    'Classify the intent of the following utterance.\n"{}"',
    "Which intent does this user message have?\n{}",
    "Label the intent of: {}",
    "{}\n\nName the intent of the message above.",
    "Intent detection. Utterance: {}. Intent:",
)


def shipped_prompts(data: Path | None) -> PromptSet:
    """Return the training prompts of the shipped router: the authored ones and, from a folder, the public rows."""
    own = PromptSet((*authored_prompts(), *turns_in_context()))
    return merged([own, public_prompts(data)]) if data else own


def turns_in_context() -> list[Prompt]:
    """Return authored prompts inside wrappers, and under system turns, as the router reads both."""
    wrapped = [(each.category, each.text) for each in wrapped_prompts()]
    instructed = [(each.category, under_system(each.system, each.user)) for each in instructed_prompts()]
    return [
        authored(text, category, number, CONTEXT_FAMILY)
        for number, (category, text) in enumerate((*wrapped, *instructed), 1)
    ]


def public_prompts(data: Path) -> PromptSet:
    """Return the permissive training rows of the public files in a folder."""
    found = merged(prompts_in(read_rows(data / name)) for name in (ROUTER_FILE, *MORE_FILES))
    allowed = tuple(prompt for prompt in found.prompts if may_ship(prompt) and prompt.split == "train")
    tuning = prompts_in(tuning_rows(row.value for row in read_rows(data / TUNING_FILE)))
    return merged([PromptSet(allowed, found.bad_rows), tuning])


def may_ship(prompt: Prompt) -> bool:
    """Return whether a model trained on it may ship under our licence: share-alike rows, too, are marked permissive."""
    return prompt.is_permissive and "SA" not in prompt.license


def tuning_rows(rows: Iterable[Any]) -> Iterator[RawRow]:
    """Yield every nth training request of some experts, half of the intent requests under another instruction."""
    allowed = [row for row in rows if row["split"] == "train"]
    for category, nth in EVERY_NTH.items():
        chosen = [row for row in allowed if row["expert"] == category][::nth]
        for number, row in enumerate(chosen):
            text = row["messages"][-2]["content"]
            labelled = {
                "prompt": other_intent_form(text, number) if category == "intent" else text,
                "category": category,
                "source": row["source"],
                "family": row["source"].split(" ")[0],
                "license": row["license"],
                "id": f"{category}{number:05}",
            }
            yield RawRow(f"{TUNING_FILE}: {labelled['id']}", labelled)


def other_intent_form(text: str, number: int) -> str:
    """Return the request under its own instruction, or, for every odd number, under another one."""
    form = INTENT_FORMS[(number // 2) % len(INTENT_FORMS)] if number % 2 else INTENT_FORMS[0]
    return form.format(text.removeprefix(INTENT_PREFIX))
