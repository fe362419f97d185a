"""Whatever is in a folder: the start succeeds, the others answer with the same tokens, the bad one fails by name.

A case is its number (folder_fuzz.py), and twenty are in a start: 60 in `make check`, 2,000 in `make prove`.
COE_FUZZ_CASES and COE_PROVE_SEED run more of them, or others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import proofs
import pytest
import tiny_models
from compositions import ask, with_runtime, write_config
from folder_fuzz import BadFolder, bad_folder

from coe.errors import CoeError, ExpertError
from coe.runtime import Runtime

NUM_CASES = proofs.num_cases(sample=60, full=2000)
FIRST_SEED = proofs.first_case()
AT_ONCE = 20
GOOD = ("good", "tuned")
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


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, good: dict[str, Path]) -> list[list[int]]:
    """What the good ones answer where there is no bad one."""
    config = write_config(tmp_path_factory.mktemp("good"), {"good": good["model"], "tuned": good["adapter"]})
    return with_runtime(config, _alone)


@pytest.mark.parametrize("first", STARTS)
def test_bad_folders_fail_by_name_and_nobody_else_does(
    tmp_path: Path,
    good: dict[str, Path],
    expected: list[list[int]],
    record_property: Callable[[str, object], None],
    first: int,
) -> None:
    bad = {
        f"bad-{seed}": bad_folder(seed, good, tmp_path)
        for seed in range(first, min(first + AT_ONCE, FIRST_SEED + NUM_CASES))
    }
    config = write_config(
        tmp_path,
        {"good": good["model"], "tuned": good["adapter"], **{name: case.folder for name, case in bad.items()}},
    )
    outcomes = with_runtime(config, lambda runtime: _outcomes(runtime, bad, expected))
    wrong = [f"{bad[name]}: {outcome}" for name, outcome in outcomes.items() if not _is_right(bad[name], name, outcome)]
    assert not wrong, "\n".join(wrong)
    record_property("num_refused", sum(not outcome.startswith("answers") for outcome in outcomes.values()))
    record_property("num_cases", len(outcomes))


async def _alone(runtime: Runtime) -> list[list[int]]:
    return [await ask(runtime, name, "hello", 6) for name in GOOD]


async def _outcomes(runtime: Runtime, bad: dict[str, BadFolder], expected: list[list[int]]) -> dict[str, str]:
    """Ask everybody at once; the good ones must answer as they do without bad ones."""
    assert await _alone(runtime) == expected
    found = {name: str(error) for name, error in runtime.experts.errors.items()}
    served = [name for name in bad if name not in found]
    asked = [_outcome(runtime, name) for name in served]
    *outcomes, good, tuned = await asyncio.gather(*asked, *(ask(runtime, name, "hello", 6) for name in GOOD))
    assert [good, tuned] == expected
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
