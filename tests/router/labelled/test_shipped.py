"""The shipped router's prompts: the authored ones, and public rows of the training split whose licence allows it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from router.labelled.authored import CONTEXT_FAMILY, authored_prompts
from router.labelled.shipped import INTENT_FORMS, public_prompts, shipped_prompts


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))


def public_folder(folder: Path) -> Path:
    row = {"category": "law", "license": "MIT", "split": "train"}
    rows = [
        row | {"prompt": "kept"},
        row | {"prompt": "not permissive", "permissive": False},
        row | {"prompt": "share-alike", "license": "CC-BY-SA-4.0"},
        row | {"prompt": "held out", "split": "test"},
        row | {"prompt": ""},
    ]
    write(folder / "router_prompts.jsonl.gz", rows)
    foreign = {"prompt": "übersetzt", "category": "law", "license": "MIT"}
    write(folder / "router_multilingual.jsonl.gz", [foreign, foreign | {"license": "CC-BY-SA-4.0", "prompt": "nein"}])
    write(folder / "router_longform.jsonl.gz", [foreign | {"prompt": "long"}])
    tuning = [
        {
            "expert": expert,
            "split": "train",
            "source": f"{expert} bench",
            "license": "MIT",
            "messages": [
                {"role": "user", "content": f"Intent of this request: {number}"},
                {"role": "assistant", "content": "x"},
            ],
        }
        for expert in ("intent", "medicine", "math")
        for number in range(20)
    ]
    write(folder / "expert_tuning.jsonl.gz", tuning)
    return folder


def test_public_rows_are_permissive_and_of_the_training_split(tmp_path: Path) -> None:
    found = public_prompts(public_folder(tmp_path))
    assert [prompt.text for prompt in found.prompts if prompt.category == "law"] == ["kept", "übersetzt", "long"]
    assert [row.where for row in found.bad_rows] == ["router_prompts.jsonl.gz:5"]


def test_every_nth_tuning_row_is_taken_and_half_of_the_intents_under_another_instruction(tmp_path: Path) -> None:
    prompts = public_prompts(public_folder(tmp_path)).prompts
    medicine = [prompt for prompt in prompts if prompt.category == "medicine"]
    intents = [prompt for prompt in prompts if prompt.category == "intent"]
    assert len(medicine) == 20
    assert {prompt.family for prompt in medicine} == {"medicine"}
    assert [prompt.id for prompt in intents] == ["intent00000", "intent00001", "intent00002", "intent00003"]
    assert [prompt.text for prompt in intents][::2] == ["Intent of this request: 0", "Intent of this request: 10"]
    assert [prompt.text for prompt in intents][1::2] == [INTENT_FORMS[0].format(5), INTENT_FORMS[1].format(15)]
    assert not [prompt for prompt in prompts if prompt.category == "math"]


def test_without_a_folder_there_are_the_authored_prompts_alone(tmp_path: Path) -> None:
    authored = shipped_prompts(None).prompts
    assert authored[: len(authored_prompts())] == authored_prompts()
    assert {prompt.family for prompt in authored[len(authored_prompts()) :]} == {CONTEXT_FAMILY}
    both = shipped_prompts(public_folder(tmp_path))
    assert both.prompts == authored + public_prompts(tmp_path).prompts
    assert len(both.bad_rows) == 1
