"""A latency report has a row, figures and a picture, and refuses impossible counts."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from router_fakes import no_follow_ups, toy_prompts
from tiny_encoders import write_model

from router.encoding.encoder import Encoder
from router.evaluation.latency import Latency, measure_latency
from router.evaluation.latency_report import LatencyReport, add_arguments, measure
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
