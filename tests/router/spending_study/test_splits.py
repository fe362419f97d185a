"""Scores of methods are paired by prompt over all splits in which it was judged."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
from score_tables import score_row

from router.spending_study.splits import JudgedScores, add_split_arguments, study_table


def test_a_prompts_score_is_its_mean_over_the_splits_that_judged_it() -> None:
    judged = JudgedScores(np.arange(3))
    judged.add("one", np.array([0, 1]), np.array([1.0, 0.0]))
    judged.add("one", np.array([1]), np.array([1.0]))
    judged.add("other", np.array([0, 1]), np.array([0.0, 0.0]))
    judged.add("other", np.array([1]), np.array([0.0]))
    assert judged.difference("one", "other").difference == pytest.approx((1 + 0.5) / 2)
    assert list(judged.differences({"one": "other"})) == ["one - other"]


def test_a_table_without_a_complete_row_says_so(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text("\n".join(map(json.dumps, [score_row("p", "c", x=None), score_row("q", "c", y=None)])))
    parser = argparse.ArgumentParser()
    add_split_arguments(parser)
    with pytest.raises(ValueError, match="no prompt has scores of every expert"):
        study_table(parser.parse_args([str(path)]))
