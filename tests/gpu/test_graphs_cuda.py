"""Decode steps captured on a CUDA device: eager tokens, one capture for all experts at its addresses, a budget."""

from __future__ import annotations

import asyncio
import warnings
from pathlib import Path

import pytest
import torch
from compositions import ask, integrity, with_runtime, write_config
from decode_steps import LENGTHS, SHAPES, Tiny, decode_rows, greedy

from coe.engine.sampling import Sampler, Waiting, sample
from coe.models.cuda.capture import CudaRecorder
from coe.models.cuda.cuda_llama import CudaLlama
from coe.models.cuda.graphs import DecodeGraphs
from coe.models.cuda.paged_kv import PagedStore
from coe.models.model import Step
from coe.runtime import Runtime
from coe.types import Sampling

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
CUDA = torch.device("cuda")
BUDGET = 256 << 20
EXPERTS = ("llama", "other_llama", "untied_llama", "qwen2", "qwen3", "mistral")
PROMPTS = ("What is the capital of France?", "one two three four five six seven eight nine ten " * 6, "SELECT name")


@pytest.fixture(autouse=True)
def _exact_products() -> None:
    torch.backends.cuda.matmul.allow_tf32 = False


def graphs_of(budget_bytes: int = BUDGET) -> DecodeGraphs:
    return DecodeGraphs(budget_bytes, CudaRecorder(CUDA), worth_steps=1)


def decoded(tiny: Tiny, graphs: DecodeGraphs, lengths: tuple[int, ...], num_steps: int) -> list[list[int]]:
    tiny.model.graphs = graphs
    kvs, tokens = tiny.prefilled(tiny.model, lengths)
    found = [tokens]
    for _ in range(num_steps):
        step = Step(tiny.model, decode_rows(kvs, tokens), len(tiny.weights), is_whole=True)
        step.advance(len(tiny.weights), tiny.weights.__getitem__)
        tokens = greedy(step.logits())
        found.append(tokens)
        graphs.check_integrity()
    return found


def eager(tiny: Tiny, lengths: tuple[int, ...], num_steps: int) -> list[list[int]]:
    kvs, tokens = tiny.prefilled(tiny.contiguous, lengths)
    found = [tokens]
    for _ in range(num_steps):
        tokens = tiny.eager(tiny.contiguous, kvs, [[token] for token in tokens])
        found.append(tokens)
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_tokens_of_captured_steps_are_eager_ones(shape: str, tmp_path: Path) -> None:
    tiny, graphs = Tiny(shape, tmp_path, CUDA), graphs_of()
    for size in (1, 2, 3, 8):
        lengths = LENGTHS[:size] if size > 1 else (60,)
        assert decoded(tiny, graphs, lengths, 20) == eager(tiny, lengths, 20)
    assert graphs.num_captured >= 4
    assert graphs.num_replays >= 60
    graphs.close()


def test_bfloat16_logits_of_a_captured_step_are_the_eager_ones_up_to_rounding(tmp_path: Path) -> None:
    tiny, graphs = Tiny("llama", tmp_path, CUDA, dtype="bfloat16"), graphs_of()
    kvs, tokens = tiny.prefilled(tiny.model, LENGTHS)
    theirs, _ = tiny.prefilled(tiny.contiguous, LENGTHS)
    for _ in range(2):  # captured, then replayed
        found = graphs.run(tiny.model.static_step, tiny.weights, decode_rows(kvs, tokens))
        assert found is not None
        expected = tiny.eager_logits(tiny.contiguous, decode_rows(theirs, tokens))
        assert float((found - expected).norm() / expected.norm()) < 0.03
        tokens = greedy(expected)
    assert graphs.num_replays == 1


def test_an_expert_at_the_same_addresses_is_served_by_the_same_capture(tmp_path: Path) -> None:
    tiny, other, graphs = Tiny("llama", tmp_path, CUDA), Tiny("llama", tmp_path / "other", CUDA, seed=12), graphs_of()
    first = decoded(tiny, graphs, (5, 9), 10)
    for slot, flat in zip(tiny.flats, other.flats, strict=True):
        slot.copy_(flat)
    second = decoded(tiny, graphs, (5, 9), 10)
    assert graphs.num_captured == 1
    assert second == eager(other, (5, 9), 10)
    assert second != first


def test_captures_go_with_the_memory_that_they_read_and_with_the_budget(tmp_path: Path) -> None:
    tiny, graphs = Tiny("llama", tmp_path, CUDA), graphs_of()
    for lengths in ((5,), (5, 6), (5, 6, 7)):
        decoded(tiny, graphs, lengths, 3)
    assert graphs.num_captured == 3
    assert 0 < graphs.used_bytes <= BUDGET
    graphs.forget(tiny.flats[1].data_ptr(), tiny.flats[1].numel())
    assert graphs.num_captured == 0
    assert decoded(tiny, graphs, (5, 6), 10) == eager(tiny, (5, 6), 10)  # a pool of its own again
    graphs.close()
    assert graphs.used_bytes == 0
    narrow = graphs_of(1 << 20)
    for size in (1, 2, 4, 8):
        assert decoded(tiny, narrow, LENGTHS[:size], 6) == eager(tiny, LENGTHS[:size], 6)
        assert narrow.used_bytes <= 1 << 20


def test_a_capture_survives_copies_on_another_thread(tmp_path: Path) -> None:
    """Transfer threads go on while the engine captures."""
    import threading

    tiny, graphs, is_over = Tiny("llama", tmp_path, CUDA), graphs_of(), threading.Event()
    source, target = torch.zeros(8 << 20, dtype=torch.uint8).pin_memory(), torch.empty(8 << 20, device=CUDA).byte()
    errors: list[BaseException] = []

    def copy() -> None:
        try:
            stream = torch.cuda.Stream(CUDA)
            while not is_over.is_set():
                with torch.cuda.stream(stream):
                    target.copy_(source, non_blocking=True)
                    event = torch.cuda.Event()
                    event.record(stream)
                event.synchronize()
        except BaseException as error:  # thread edge: the test says what went wrong
            errors.append(error)

    thread = threading.Thread(target=copy)
    thread.start()
    try:
        for size in (1, 2, 3, 5):
            assert decoded(tiny, graphs, LENGTHS[:size], 5) == eager(tiny, LENGTHS[:size], 5)
    finally:
        is_over.set()
        thread.join()
    assert errors == []
    assert graphs.num_captured >= 4


def config_of(folder: Path, request: pytest.FixtureRequest, more: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    experts = {shape: request.getfixturevalue(f"{shape}_folder") for shape in EXPERTS}
    config = write_config(folder, experts, f"max_step_tokens = 40\nmax_batch_size = 8\n{more}")
    text = config.read_text().replace('device = "cpu"', 'device = "cuda"')
    config.write_text(text.replace('host_bytes = "64MB"', 'host_bytes = "64MB"\ndevice_bytes = "200MB"'))
    return config


async def answers(runtime: Runtime) -> dict[tuple[str, str], list[int]]:
    pairs = [(shape, prompt) for prompt in PROMPTS for shape in EXPERTS]
    found = await asyncio.gather(*(ask(runtime, shape, prompt, 60) for shape, prompt in pairs))
    for shape in EXPERTS:
        await runtime.operator.unload(shape)
    again = await asyncio.gather(*(ask(runtime, shape, prompt, 60) for shape, prompt in pairs))
    await integrity(runtime)
    assert again == found
    return dict(zip(pairs, found, strict=True))


def test_a_runtime_answers_as_without_captures(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    async def counted(runtime: Runtime) -> tuple[dict[tuple[str, str], list[int]], int]:
        model = runtime.experts.served["llama"].loaded.model
        assert isinstance(model, CudaLlama)
        assert model.graphs is not None
        return await answers(runtime), model.graphs.num_replays

    more = 'kv_bytes = "40MB"\ngraph_bytes = "100MB"'
    found, num_replays = with_runtime(config_of(tmp_path / "on", request, more), counted)
    assert num_replays > 50
    assert found == with_runtime(config_of(tmp_path / "off", request, "cuda_graphs = false"), answers)


def test_pages_go_back_when_an_answer_has_ended(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    async def work(runtime: Runtime) -> int:
        model = runtime.experts.served["llama"].loaded.model
        assert isinstance(model.kv, PagedStore)  # type: ignore[attr-defined]
        await ask(runtime, "llama", PROMPTS[1], 30)
        await integrity(runtime)
        model.kv.pages.check_integrity()  # type: ignore[attr-defined]
        used: int = model.kv.pages.used_bytes  # type: ignore[attr-defined]
        return used

    assert with_runtime(config_of(tmp_path, request, 'kv_bytes = "40MB"\nprefix_reuse = false'), work) == 0


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_sampling_waits_for_the_device_once(temperature: float) -> None:
    logits = torch.randn(8, 50_000, device=CUDA)
    waiting = [Waiting(Sampler(Sampling(temperature=temperature, seed=seed)), []) for seed in range(8)]
    sample(logits, waiting)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            sample(logits, waiting)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    waits = [str(each.message) for each in caught if "synchroniz" in str(each.message)]
    assert len(waits) == 1, waits
