"""Latency is measured on prompts of the asked length, encoded each time, on the asked threads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from router_fakes import no_follow_ups, toy_prompts
from tiny_encoders import write_model

from router.encoding.encoder import Encoder
from router.evaluation.latency import ceiling_ms, made_up_prompts, math_threads, measure_latency
from router.model.artefact import load_artefact
from router.training.train import train


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A router over a tiny encoder of our own making."""
    folder = tmp_path_factory.mktemp("latency")
    train(toy_prompts(), Encoder(str(write_model(folder / "model"))), follow_up=no_follow_ups(32)).save(
        folder / "router"
    )
    return folder / "router"


def test_prompts_have_the_asked_length_and_differ() -> None:
    encoder = Encoder()
    prompts = made_up_prompts(encoder, 5, 40, seed=1)
    assert [encoder.num_tokens(prompt) for prompt in prompts] == [40] * 5
    assert len(set(prompts)) == 5
    assert prompts == made_up_prompts(encoder, 5, 40, seed=1)


def test_every_length_is_measured_beside_its_ceiling(artefact: Path) -> None:
    loaded = load_artefact(artefact)
    found = list(measure_latency(loaded, [10, 200], device="cpu", num_threads=1, num_calls=3, seed=0))
    assert [(each.num_tokens_read, each.num_calls) for each in found] == [(10, 3), (64, 3)]
    hidden, wide = 32, 64
    per_token = 2 * (4 * hidden * hidden + 2 * hidden * wide)  # two layers
    assert [each.num_operations for each in found] == [2 * 10 * per_token, 2 * 64 * per_token]
    for each in found:
        assert each.encode.p50_ms > 0
        assert each.float32_ceiling_ms is not None
        assert each.ceiling_ms is not None


def test_a_static_table_has_no_matrix_products() -> None:
    assert ceiling_ms([], 100, "cpu", torch.float32) is None
    pytest.importorskip("wordllama", reason="the extra `static`")
    assert Encoder("wordllama").matmul_shapes == []


def fail_with_one_more_thread(num_threads: int) -> None:
    with math_threads(num_threads + 1):
        assert torch.get_num_threads() == num_threads + 1
        raise RuntimeError("stop")


def test_the_thread_count_is_put_back_even_after_an_error() -> None:
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="stop"):
        fail_with_one_more_thread(before)
    assert torch.get_num_threads() == before
