"""The choices of one request: its prompt is computed once, and each says what it would say if it were not shared."""

from __future__ import annotations

from pathlib import Path

import pytest
from compositions import integrity, with_runtime, write_config

from coe.models.llama.model import LlamaModel
from coe.models.transformers import TransformersModel
from coe.runtime import Runtime
from coe.types import Delta, Finished, GenerateRequest, Message, Sampling, Usage

PROMPT = "Tell me about the seven hills of Rome, and about who lived on them, one after another."
NUM_CHOICES, NUM_TOKENS = 4, 20


class Counted:
    """Tokens that a model's steps have run, by a spy on the real thing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.num_run = 0
        real = LlamaModel.begin

        def begin(model: LlamaModel, rows: object, **options: bool) -> object:
            self.num_run += sum(len(row.token_ids) for row in rows)  # type: ignore[attr-defined]
            return real(model, rows, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(LlamaModel, "begin", begin)


async def choices(
    runtime: Runtime, expert: str, request_id: str, num_choices: int = NUM_CHOICES, num_tokens: int = NUM_TOKENS
) -> tuple[list[list[int]], list[Usage]]:
    sampling = Sampling(max_tokens=num_tokens, temperature=1.0, seed=11, ignore_eos=True)
    request = GenerateRequest(
        request_id, messages=(Message("user", PROMPT),), expert=expert, sampling=sampling, num_choices=num_choices
    )
    tokens: list[list[int]] = [[] for _ in range(num_choices)]
    usages: dict[int, Usage] = {}
    async for event in runtime.generate(request):
        if isinstance(event, Delta):
            tokens[event.index] += event.token_ids
        elif isinstance(event, Finished):
            usages[event.index] = event.usage
    return tokens, [usages[index] for index in range(num_choices)]


@pytest.mark.parametrize("max_step_tokens", [512, 16])
@pytest.mark.parametrize("shape", ["llama", "qwen2", "qwen3", "mistral"])
def test_the_prompt_is_computed_once_and_every_choice_says_the_same(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, shape: str, max_step_tokens: int
) -> None:
    folders = {shape: request.getfixturevalue(f"{shape}_folder")}
    config = write_config(tmp_path, folders, f"max_step_tokens = {max_step_tokens}\nprefix_reuse = false")

    async def work(runtime: Runtime) -> tuple[list[list[int]], list[Usage]]:
        found = await choices(runtime, shape, "r")
        await integrity(runtime)
        return found

    counted = Counted(monkeypatch)
    shared, usages = with_runtime(config, work)
    prompt = usages[0].prompt_tokens
    assert [usage.cached_tokens for usage in usages] == [0] + [prompt - 1] * (NUM_CHOICES - 1)
    assert {usage.prompt_tokens for usage in usages} == {prompt}
    num_decoded = NUM_CHOICES * (NUM_TOKENS - 1)
    assert counted.num_run == prompt + (NUM_CHOICES - 1) + num_decoded
    monkeypatch.setattr(LlamaModel, "copies_kv", False)
    counted.num_run = 0
    apart, usages = with_runtime(config, work)
    assert shared == apart
    assert counted.num_run == NUM_CHOICES * prompt + num_decoded
    assert [usage.cached_tokens for usage in usages] == [0] * NUM_CHOICES


def test_choices_of_one_token_find_the_prompt_that_the_first_left_behind(tmp_path: Path, llama_folder: Path) -> None:
    async def work(runtime: Runtime) -> list[int]:
        return [usage.cached_tokens for usage in (await choices(runtime, "llama", "r", num_tokens=1))[1]]

    cached = with_runtime(write_config(tmp_path, {"llama": llama_folder}), work)
    assert cached[0] == 0
    assert min(cached[1:]) > 16


def test_transformers_own_modules_compute_it_for_each(tmp_path: Path, gpt2_folder: Path) -> None:
    assert not TransformersModel.copies_kv

    async def work(runtime: Runtime) -> list[int]:
        return [usage.cached_tokens for usage in (await choices(runtime, "gpt2", "r"))[1]]

    assert with_runtime(write_config(tmp_path, {"gpt2": gpt2_folder}), work) == [0] * NUM_CHOICES


def test_choices_share_under_pressure_too(tmp_path: Path, llama_folder: Path) -> None:
    """KV for two of four full answers: what is preempted shares again or is computed again, and says the same."""
    config = write_config(tmp_path, {"llama": llama_folder}, "prefix_reuse = false")
    found = {}

    async def work(runtime: Runtime) -> list[list[int]]:
        return (await choices(runtime, "llama", "r", num_tokens=200))[0]

    for kv_bytes in ("16MB", "700kB"):
        text = config.read_text().replace("[engine]", f"[engine]\nkv_bytes = '{kv_bytes}'")
        (tmp_path / "tight.toml").write_text(text)
        found[kv_bytes] = with_runtime(tmp_path / "tight.toml", work)
    assert found["16MB"] == found["700kB"]
