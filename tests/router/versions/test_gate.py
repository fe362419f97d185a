"""The gate lets through what loses nothing, and says with figures why it stops anything else."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from router.versions.gate import MIN_DISTINCT, Answers, GateReport, gate


def said(categories: NDArray[np.str_]) -> Answers:
    return Answers(categories, np.ones(len(categories), np.bool_))


def judged(num: int, old_wrong: int, new_wrong: int, **options: float) -> GateReport:
    """`num` rows of m and s by turns; the old one is wrong on the first so many, the new one on the last."""
    truth = np.array(["m", "s"] * (num // 2))
    old, new = truth.copy(), truth.copy()
    old[:old_wrong], new[num - new_wrong :] = "x", "x"
    groups = np.arange(num).astype(str)
    return gate(truth, groups, said(old), said(new), **options)  # type: ignore[arg-type]


def test_a_better_and_an_equal_candidate_pass() -> None:
    better = judged(200, 40, 0)
    assert better.passes
    assert better.overall is not None
    assert (better.overall.old_accuracy, better.overall.new_accuracy) == (0.8, 1.0)
    assert better.overall.difference.low > 0.1
    assert judged(200, 0, 0).passes


def test_a_worse_candidate_does_not_pass_and_a_wider_margin_lets_it() -> None:
    worse = judged(200, 0, 10)
    assert not worse.passes
    assert "accuracy may fall by more than 0.01: -0.0500 [-0.0" in worse.refusals[0]
    assert judged(200, 0, 10, margin=0.1).passes


def test_a_gain_does_not_buy_the_loss_of_a_category() -> None:
    truth = np.array(["m"] * 300 + ["s"] * 20)
    old, new = truth.copy(), truth.copy()
    old[:100], new[300:312] = "x", "x"
    report = gate(truth, np.arange(320).astype(str), said(old), said(new))
    assert [refusal.split(":")[0] for refusal in report.refusals] == ["category 's' loses more than 0.05"]
    few = np.r_[0:300, 311:320]  # nine rows of s say nothing
    assert gate(truth[few], few.astype(str), said(old[few]), said(new[few])).passes


def test_too_few_rows_decide_nothing_unless_forced() -> None:
    few = judged(MIN_DISTINCT - 2, 10, 0)
    assert not few.passes
    assert f"{MIN_DISTINCT - 2} distinct held-out rows, and fewer than {MIN_DISTINCT}" in few.refusals[0]
    forced = judged(MIN_DISTINCT - 2, 0, 10, force=True)
    assert forced.passes
    assert "gate: forced with" in str(forced)


def test_near_duplicates_count_once() -> None:
    truth = np.array(["m"] * 100)
    report = gate(truth, np.array(["one", "two"] * 50), said(truth), said(truth))
    assert report.num_distinct == 2
    assert not report.passes


def test_force_does_not_let_pass_what_enough_rows_refuse() -> None:
    refused = judged(200, 0, 100, force=True)
    assert not refused.passes
    assert not refused.is_forced


def test_no_row_at_all_is_a_refusal_with_the_number() -> None:
    nothing = np.array([], np.str_)
    assert "0 distinct held-out rows" in str(gate(nothing, nothing, said(nothing), said(nothing)))
    assert gate(nothing, nothing, said(nothing), said(nothing), force=True).passes


def test_abstaining_is_counted_and_printed() -> None:
    truth = np.array(["m", "s"] * 50)
    unsure = Answers(truth, np.arange(100) >= 20)
    report = gate(truth, np.arange(100).astype(str), unsure, said(truth), notes=["how"])
    assert (report.old_abstains, report.new_abstains) == (0.2, 0.0)
    assert str(report).startswith("how\n")
    assert "abstains: old 20.0%, new 0.0%" in str(report)
