"""Decisions and feedback become labels by the stated rule; everything else is counted."""

from __future__ import annotations

import json
from pathlib import Path

from router.labelled.feedback import Feedback, read_feedback


def write(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def decision(number: int, **fields: object) -> dict[str, object]:
    shape = {"id": f"d{number}", "time": "2026-12-01T10:00:00Z", "prompt": f"prompt {number}", "category": "math"}
    return {**shape, "expert": "maths", "confidence": 0.9, "why": "category", **fields}


def joined(folder: Path, decisions: list[object], feedback: list[object]) -> Feedback:
    return read_feedback([write(folder / "d.jsonl", *decisions)], [write(folder / "f.jsonl", *feedback)])


def test_a_right_decision_is_its_own_label_and_a_wrong_one_that_of_the_feedback(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "first"}, {"role": "assistant", "content": "a"}]
    messages += [{"role": "user", "content": "last"}]
    found = joined(
        tmp_path,
        [decision(1), decision(2), decision(3), decision(4, prompt=None, messages=messages)],
        [
            {"id": "d1", "right": True},
            {"id": "d2", "right": False, "category": "law"},
            {"id": "d3", "right": False},
            {"id": "d4", "right": True},
        ],
    )
    assert [(row.id, row.text, row.category) for row in found.prompts] == [
        ("d1", "prompt 1", "math"),
        ("d2", "prompt 2", "law"),
        ("d4", "last", "math"),
    ]
    assert found.no_label == {"wrong, and the right category is not said": 1}
    assert found.bad_rows == ()
    assert all(row.source == "feedback" and not row.may_be_shown for row in found.prompts)


def test_decisions_without_feedback_are_no_labels(tmp_path: Path) -> None:
    found = joined(tmp_path, [decision(1), decision(2, why="model", category=None)], [])
    assert (found.prompts, found.no_label) == ((), {"no feedback": 2})


def test_what_a_client_or_a_rule_chose_or_the_router_doubted_needs_a_named_category(tmp_path: Path) -> None:
    decisions: list[object] = [
        decision(at, why=why, category=category)
        for at, (why, category) in enumerate((("model", None), ("mention", None), ("rule", "law"), ("abstain", "law")))
    ]
    praised = joined(tmp_path, decisions, [{"id": f"d{at}", "right": True} for at in range(4)])
    assert [row.id for row in praised.prompts] == ["d2"]  # a rule's own category, which somebody called right
    assert sum(praised.no_label.values()) == 3
    named = joined(tmp_path, decisions, [{"id": f"d{at}", "right": True, "category": "sql"} for at in range(4)])
    assert [row.category for row in named.prompts] == ["sql"] * 4


def test_the_last_word_wins_by_time_and_without_one_by_place(tmp_path: Path) -> None:
    early, late = "2026-12-01T10:00:00Z", "2026-12-01T12:30:00+01:00"
    words = [
        {"id": "d1", "right": False, "category": "late", "time": late},
        {"id": "d1", "right": False, "category": "early", "time": early},
        {"id": "d2", "right": False, "category": "first"},
        {"id": "d2", "right": False, "category": "second", "time": early},
    ]
    found = joined(tmp_path, [decision(1), decision(2)], words)
    assert [row.category for row in found.prompts] == ["late", "second"]


def test_bad_rows_are_counted_by_reason(tmp_path: Path) -> None:
    found = joined(
        tmp_path,
        [
            "{",
            [1],
            decision(1, id=None),
            decision(2, time="yesterday"),
            decision(3, time="2026-12-01T10:00:00"),
            decision(4, prompt=" "),
            decision(5, category=7),
            decision(6),
            decision(6),
        ],
        [{"id": "d6", "right": "yes"}, {"id": "d6"}, {"id": "nobody", "right": True}, {"right": True}],
    )
    assert [row.reason for row in found.bad_rows] == [
        "not JSON",
        "not an object",
        "no 'id' that is a text",
        "time is not RFC 3339",
        "time is not RFC 3339",
        "no text in 'prompt', 'messages', 'question', 'query' or 'text'",
        "category is not a name",
        "the decision's id stands there twice",
        "right is not true or false",
        "right is not true or false",
        "no decision has the feedback's id",
        "no 'id' that is a text",
    ]
    assert "2 x right is not true or false" in str(found)
    assert found.no_label == {"no feedback": 1}
