"""The latency benchmark times what it says: prompts of the asked length, encoded each time, on the asked threads."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch

from router.encoding.encoder import Encoder
from router.evaluation.latency import Latency, ceiling_ms, made_up_prompts, math_threads, measure_latency
from router.evaluation.latency_report import LatencyReport, add_arguments, measure
from router.model.artefact import load_artefact
from router.training.train import train
from tests.router.test_router_encoder import write_model
from tests.router.test_router_learning import toy_prompts


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A router over a tiny encoder of our own making."""
    folder = tmp_path_factory.mktemp("latency")
    train(toy_prompts(), Encoder(str(write_model(folder / "model")))).save(folder / "router")
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
        assert (each.int8_ceiling_ms is not None) == (each.arithmetic == "int8")


def test_a_table_of_vectors_has_no_products() -> None:
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


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


def test_a_report_has_a_row_and_figures_per_measurement(artefact: Path) -> None:
    report = measure(parsed("--artefact", str(artefact), "--tokens", "8", "--calls", "2"), seed=0)
    (row,), (figures,) = report.rows, report.figures
    assert len(row) == len(report.headers)
    assert figures["num_tokens"] == 8
    assert set(figures["both"]) == {"p50_ms", "p99_ms"}
    assert figures["fraction_of_ceiling"] > 0


@pytest.mark.parametrize("words", [("--tokens", "3"), ("--threads", "0"), ("--calls", "0")])
def test_impossible_counts_are_refused_by_name(words: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=f"{words[0]} {words[1]}: must be at least"):
        measure(parsed(*words), seed=0)


def test_a_report_can_be_drawn(artefact: Path) -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot", reason="the extra `bench`")
    latencies: tuple[Latency, ...] = tuple(
        measure_latency(load_artefact(artefact), [8, 16], device="cpu", num_threads=1, num_calls=2, seed=0)
    )
    figure, axes = pyplot.subplots()
    LatencyReport(latencies).draw(axes)
    labels = [line.get_label() for line in axes.get_lines()]
    pyplot.close(figure)
    assert [label.split(", ")[1] for label in labels] == ["p50", "p99", "bare products"]
