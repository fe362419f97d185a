"""An evaluation for people: tables are aligned, and what there is not is a dash."""

from __future__ import annotations

from router.evaluation.evaluation_table import lines_of


def test_sections_become_tables_and_lines() -> None:
    rows = {"law": {"recall": 0.5, "f1": None}, "mathematics": {"recall": 1.0, "f1": 0.25}}
    figures = {
        "held_out": {"num": 3, "by": {"x": 1.0}},
        "categories": rows,
        "bins": [{"a": 1}, {"a": True}],
        "none": [],
    }
    assert lines_of(figures) == [
        "held_out",
        f"  {'num':60} 3",
        f"  {'by x':60} 1.0000",
        "categories",
        "               recall  f1",
        "  law          0.5000  -",
        "  mathematics  1.0000  0.2500",
        "bins",
        "  a",
        "  1",
        "  yes",
        "none",
        "  none",
    ]


def test_a_long_table_ends_in_a_count() -> None:
    assert lines_of({"s": [{"a": 1}] * 1000})[-1] == "  and 940 more, in the JSON"
