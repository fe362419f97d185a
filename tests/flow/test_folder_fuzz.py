"""Whatever is in a folder: the start succeeds, the others answer with the same tokens, the bad one fails by name.

COE_FUZZ_CASES cases from COE_FUZZ_SEED on, twenty to a start; a case is its seed (folder_fuzz.py). With COE_FUZZ_RECORD
= a file, each start's outcome is a JSON line there, and seeds that it has are not done again:

    COE_FUZZ_CASES=2000 COE_FUZZ_RECORD=fuzz.jsonl pytest tests/flow/test_folder_fuzz.py
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from pathlib import Path

import pytest
import tiny_models
from compositions import ask, with_runtime, write_config
from folder_fuzz import BadFolder, bad_folder

from coe.errors import CoeError, ExpertError
from coe.runtime import Runtime

NUM_CASES = int(os.environ.get("COE_FUZZ_CASES", "60"))
FIRST_SEED = int(os.environ.get("COE_FUZZ_SEED", "0"))
RECORD = os.environ.get("COE_FUZZ_RECORD")
AT_ONCE = 20
STARTS = range(FIRST_SEED, FIRST_SEED + NUM_CASES, AT_ONCE)

# transformers warns of what is odd; that is no error where people run it
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def good(
    tmp_path_factory: pytest.TempPathFactory,
    llama_folder: Path,
    untied_llama_folder: Path,
    qwen2_folder: Path,
    gpt2_folder: Path,
    lora_folder: Path,
) -> dict[str, Path]:
    """Good folders by kind."""
    sharded = tiny_models.tiny_llama(tmp_path_factory.mktemp("sharded") / "llama", seed=9, sharded=True)
    own = tiny_models.tiny_lora(tmp_path_factory.mktemp("own") / "lora", llama_folder, seed=8)
    tiny_models.tiny_tokenizer().save_pretrained(own)
    return {
        "model": llama_folder,
        "untied": untied_llama_folder,
        "biased": qwen2_folder,
        "other architecture": gpt2_folder,
        "sharded": sharded,
        "adapter": lora_folder,
        "adapter with a tokenizer": own,
    }


@pytest.mark.parametrize("first", STARTS)
def test_bad_folders_fail_by_name_and_nobody_else_does(tmp_path: Path, good: dict[str, Path], first: int) -> None:
    if first in _recorded():
        pytest.skip("recorded")
    bad = {
        f"bad-{seed}": bad_folder(seed, good, tmp_path)
        for seed in range(first, min(first + AT_ONCE, FIRST_SEED + NUM_CASES))
    }
    config = write_config(
        tmp_path,
        {"good": good["model"], "tuned": good["adapter"], **{name: case.folder for name, case in bad.items()}},
    )
    outcomes = with_runtime(config, lambda runtime: _outcomes(runtime, bad))
    wrong = [f"{bad[name]}: {outcome}" for name, outcome in outcomes.items() if not _is_right(bad[name], name, outcome)]
    assert not wrong, "\n".join(wrong)
    _record(first, bad, outcomes)


async def _outcomes(runtime: Runtime, bad: dict[str, BadFolder]) -> dict[str, str]:
    """Ask everybody at once; the good ones must answer as before."""
    names = ("good", "tuned")
    before = [await ask(runtime, name, "hello", 6) for name in names]
    found = {name: str(error) for name, error in runtime.experts.errors.items()}
    served = [name for name in bad if name not in found]
    asked = [_outcome(runtime, name) for name in served]
    *outcomes, good, tuned = await asyncio.gather(*asked, *(ask(runtime, name, "hello", 6) for name in names))
    assert [good, tuned] == before
    assert before == (_outcomes.__dict__.setdefault("expected", before))  # the same tokens in every start
    return {**found, **dict(zip(served, outcomes, strict=True))}


async def _outcome(runtime: Runtime, name: str) -> str:
    try:
        return f"answers {await ask(runtime, name, 'hello', 6)}"
    except CoeError as error:
        return str(error) if isinstance(error, ExpertError) else f"expert '{name}' refuses the request: {error}"


def _is_right(case: BadFolder, name: str, outcome: str) -> bool:
    if outcome.startswith("answers"):
        return not case.is_lethal
    return f"expert '{name}'" in outcome and "\n" not in outcome.partition("refuses the request")[0]


def _recorded() -> set[int]:
    if RECORD is None or not Path(RECORD).exists():
        return set()
    return {json.loads(line)["first_seed"] for line in Path(RECORD).read_text().splitlines()}


def _record(first: int, bad: dict[str, BadFolder], outcomes: dict[str, str]) -> None:
    if RECORD is None:
        return
    kinds = Counter("answers" if outcome.startswith("answers") else "named" for outcome in outcomes.values())
    cases = {case.seed: [case.what, outcomes[name]] for name, case in bad.items()}
    with Path(RECORD).open("a") as file:
        file.write(json.dumps({"first_seed": first, **kinds, "cases": cases}) + "\n")
