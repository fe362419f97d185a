"""Small score tables, and the commands that read them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from router_fakes import FakeEncoder

from coe.bench.picture import draw
from router.mapping_study import frontier_command, map_command
from router.mapping_study.half_split import StudyData
from router.mapping_study.score_table import ScoreTable, costs_of

WORDS = ("red", "green", "blue", "pink", "gold")


def clear_study_data() -> StudyData:
    """A prompt's first word is its category, and each category has an expert that is always right on it."""
    rng = np.random.default_rng(0)
    labels = ["math", "sql"] * 60
    texts = [f"{'sum' if label == 'math' else 'select'} {rng.choice(WORDS)}" for label in labels]
    values = np.array([[1.0, 0.0] if label == "math" else [0.0, 1.0] for label in labels])
    table = ScoreTable(tuple(texts), tuple(labels), ("a-1b", "b-2b"), values)
    return StudyData(table, FakeEncoder().encode(texts)[:, :16], np.arange(120), costs_of(table.experts))


def score_row(prompt: str, category: str, x: float | None = 1.0, y: float | None = 0.5) -> dict[str, object]:
    return {"prompt": prompt, "category": category, "scores": {"x-7b": x, "y-2b": y}}


def write_score_table(path: Path) -> Path:
    """Forty prompts: x-7b is right on math only, y-2b half right on everything, words for numbers as numbers group."""
    rows = [
        score_row(f"{start} {one} {two}", category, x=float(category == "math"))
        for category, start in (("math", "sum"), ("sql", "select"))
        for one in WORDS
        for two in WORDS[:4]
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def run_command(verb: str, *argv: str) -> int:
    parser = argparse.ArgumentParser()
    if verb == "map":
        map_command.add_arguments(parser)
        return map_command.run(parser.parse_args(argv))
    frontier_command.add_arguments(parser)
    return frontier_command.run(parser.parse_args(argv), {"num_cpus": 2}, draw)
