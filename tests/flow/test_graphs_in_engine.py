"""Runtimes whose KV is in pages and whose decode steps are replayed, as on a GPU: the same answers, books in order."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from compositions import ask, integrity, with_runtime, write_config
from decode_steps import Replayer
from processors import fake_processor

import coe.assembly.wire
from coe.models.cuda.cuda_llama import CudaLlama
from coe.models.cuda.graphs import DecodeGraphs
from coe.models.cuda.paged_kv import PagedStore
from coe.models.model import Model
from coe.runtime import Runtime
from coe.types import Delta, Finished, GenerateRequest, Message, Sampling

SHAPES = ("llama", "other_llama", "untied_llama", "qwen2", "qwen3", "mistral")
PROMPTS = ("What is the capital of France?", "one two three four five six seven eight nine ten " * 6, "SELECT name")
GRAPH_BYTES = 16 << 20


@pytest.fixture
def folders(request: pytest.FixtureRequest) -> dict[str, Path]:
    return {shape: request.getfixturevalue(f"{shape}_folder") for shape in SHAPES}


@pytest.fixture(autouse=True)
def _like_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulated device with pages and with captures that are run again in a replay's place."""
    derive = coe.assembly.wire.derive_budgets
    fake_processor(monkeypatch, device="emulated", has_pages=True, has_compiler=False)
    monkeypatch.setattr(coe.assembly.wire, "CudaRecorder", lambda _: Replayer())
    monkeypatch.setattr(
        coe.assembly.wire, "derive_budgets", lambda *words: replace(derive(*words), graph_bytes=GRAPH_BYTES)
    )
    monkeypatch.setattr(DecodeGraphs.__init__, "__kwdefaults__", {"worth_steps": 2})


def config_of(folder: Path, folders: dict[str, Path], more: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    more += "" if "kv_bytes" in more else '\nkv_bytes = "8MB"'
    config = write_config(folder, folders, f"max_step_tokens = 40\nmax_batch_size = 8\n{more}")
    config.write_text(config.read_text().replace('device = "cpu"', 'device = "emulated"'))
    return config


def graphs_of(runtime: Runtime) -> DecodeGraphs:
    (graphs,) = {model.graphs for model in models_of(runtime) if isinstance(model, CudaLlama)}
    assert graphs is not None
    return graphs


def models_of(runtime: Runtime) -> list[Model]:
    return [expert.loaded.model for expert in runtime.experts.served.values()]


def used_kv_bytes(runtime: Runtime) -> int:
    model = next(iter(runtime.experts.served.values())).loaded.model
    assert isinstance(model.kv, PagedStore)  # type: ignore[attr-defined]
    model.kv.pages.check_integrity()  # type: ignore[attr-defined]
    used: int = model.kv.pages.used_bytes  # type: ignore[attr-defined]
    return used


async def answers(runtime: Runtime) -> dict[tuple[str, str, str], list[int]]:
    found = {}
    for shape in SHAPES:
        found["alone", shape, PROMPTS[1]] = await ask(runtime, shape, PROMPTS[1], 40)
    for shape in SHAPES:
        await runtime.operator.unload(shape)
    pairs = [(shape, prompt) for prompt in PROMPTS for shape in SHAPES]
    together = await asyncio.gather(*(ask(runtime, shape, prompt, 40) for shape, prompt in pairs))
    await integrity(runtime)
    return found | {("together", *pair): answer for pair, answer in zip(pairs, together, strict=True)}


def test_answers_are_those_of_a_cpu(tmp_path: Path, folders: dict[str, Path]) -> None:
    async def counted(runtime: Runtime) -> tuple[dict[tuple[str, str, str], list[int]], int]:
        found = await answers(runtime)
        return found, graphs_of(runtime).num_replays

    plain = write_config(tmp_path, folders, "max_step_tokens = 40\nmax_batch_size = 8")
    expected = with_runtime(plain, answers)
    found, num_replays = with_runtime(config_of(tmp_path / "pages", folders), counted)
    assert found == expected
    assert num_replays > 100


def test_pages_go_back_at_the_end_and_when_cancelled(
    tmp_path: Path,
    folders: dict[str, Path],
) -> None:
    async def begun(runtime: Runtime) -> None:
        """An answer that is given up after its third token."""
        sampling = Sampling(max_tokens=200, temperature=0.0, ignore_eos=True)
        turns = (Message("user", PROMPTS[1]),)
        request = GenerateRequest("given-up", messages=turns, expert="llama", sampling=sampling)
        num_deltas = 0
        async for event in (events := runtime.generate(request)):
            num_deltas += isinstance(event, Delta)
            if num_deltas == 3:
                assert used_kv_bytes(runtime) > 0
                break
        await events.aclose()

    async def ended(runtime: Runtime) -> int:
        """Bytes in use while the answer's reader has its last event and has not let go yet."""
        sampling = Sampling(max_tokens=20, temperature=0.0)
        turns = (Message("user", PROMPTS[0]),)
        request = GenerateRequest("ended", messages=turns, expert="llama", sampling=sampling)
        used = -1
        async for event in runtime.generate(request):
            if isinstance(event, Finished):
                await integrity(runtime)
                used = used_kv_bytes(runtime)
        return used

    async def work(runtime: Runtime) -> list[int]:
        used = await ended(runtime)
        await begun(runtime)
        await ask(runtime, "qwen2", PROMPTS[0], 2)  # the cancellation was before it
        await integrity(runtime)
        return [used, used_kv_bytes(runtime)]

    config = config_of(tmp_path / "pages", folders, "prefix_reuse = false")
    assert with_runtime(config, work) == [0, 0]


def test_a_conversation_shares_the_pages_of_its_last_turn(
    tmp_path: Path,
    folders: dict[str, Path],
) -> None:
    async def work(runtime: Runtime) -> tuple[list[list[int]], int]:
        first = await ask(runtime, "llama", PROMPTS[1], 20)
        await integrity(runtime)  # the engine is done with the step that ended it
        kept = used_kv_bytes(runtime)
        return [first, await ask(runtime, "llama", PROMPTS[1] + "and?", 20)], kept

    found, kept = with_runtime(config_of(tmp_path / "pages", folders), work)
    expected, none_kept = with_runtime(config_of(tmp_path / "none", folders, "prefix_reuse = false"), work)
    assert found == expected
    assert kept > none_kept == 0


def test_choices_of_a_request_share_pages_and_go_their_own_ways(tmp_path: Path, folders: dict[str, Path]) -> None:
    async def work(runtime: Runtime) -> dict[int, list[int]]:
        sampling = Sampling(max_tokens=40, temperature=1.0, seed=5, ignore_eos=True)
        turns = (Message("user", PROMPTS[1]),)
        request = GenerateRequest("four", messages=turns, expert="qwen3", sampling=sampling, num_choices=4)
        found: dict[int, list[int]] = {index: [] for index in range(4)}
        async for event in runtime.generate(request):
            if isinstance(event, Delta):
                found[event.index] += event.token_ids
        await integrity(runtime)
        return found

    found = with_runtime(config_of(tmp_path / "pages", folders), work)
    assert found == with_runtime(write_config(tmp_path, folders, "max_step_tokens = 40\nmax_batch_size = 8"), work)
    assert len({tuple(tokens) for tokens in found.values()}) == 4


def test_answers_survive_so_little_kv_that_sequences_wait_and_are_preempted(
    tmp_path: Path,
    folders: dict[str, Path],
) -> None:
    """Six pages: what is reserved is what is taken, so no step ever finds the pages gone."""
    plain = write_config(tmp_path, folders, "max_step_tokens = 40\nmax_batch_size = 8")
    expected = with_runtime(plain, answers)
    config = config_of(tmp_path / "pages", folders, f"kv_bytes = {8 * 3 * 2 * 4 * 16 * 4 * 64}")
    assert with_runtime(config, answers) == expected


def test_another_architecture_keeps_all_contiguous_and_says_so(
    tmp_path: Path,
    folders: dict[str, Path],
    gpt2_folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work(runtime: Runtime) -> bool:
        await ask(runtime, "gpt2", PROMPTS[0], 4)
        await ask(runtime, "llama", PROMPTS[0], 4)
        return all(model.backend != "llama/cuda/f32" for model in models_of(runtime))

    some = {"llama": folders["llama"], "gpt2": gpt2_folder}
    assert with_runtime(config_of(tmp_path / "pages", some), work)
    assert "gpt2 has another architecture" in caplog.text


def test_graphs_can_be_switched_off(tmp_path: Path, folders: dict[str, Path]) -> None:
    async def work(runtime: Runtime) -> list[int]:
        assert {model.graphs for model in models_of(runtime) if isinstance(model, CudaLlama)} == {None}
        return await ask(runtime, "llama", PROMPTS[0], 20)

    off = with_runtime(config_of(tmp_path / "off", folders, "cuda_graphs = false"), work)
    plain = write_config(tmp_path, folders)
    assert off == with_runtime(plain, lambda runtime: ask(runtime, "llama", PROMPTS[0], 20))
