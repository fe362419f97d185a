"""Trained routers with feedback on their decisions, for tests of retraining: the words of a category are its name's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

NOUNS = ["rose", "oak", "fern", "moss", "ivy", "lily", "elm", "pine", "reed", "yew", "ash", "fig"]
NOUNS += ["plum", "pear", "palm", "hemp", "rye", "oat", "kale", "leek", "mint", "sage", "dill", "hop"]


def write_rows(path: Path, words: Sequence[tuple[str, str]], nouns: Sequence[str] = NOUNS) -> Path:
    """Labelled rows: each word before each noun, with the word's category."""
    rows = [
        {"prompt": f"{word} the {noun} number {at}", "category": category}
        for word, category in words
        for at, noun in enumerate(nouns)
    ]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def write_feedback(folder: Path, decided: str, right: str, word: str, nouns: Sequence[str] = NOUNS) -> list[str]:
    """Decisions that sorted a word's prompts as `decided`, and feedback that says `right`; returns the options."""
    decisions = [
        {"id": f"{word}{at}", "time": "2026-12-01T10:00:00Z", "prompt": f"{word} a {noun} for {at} coins"}
        | {"category": decided, "expert": decided, "confidence": 0.8, "why": "category"}
        for at, noun in enumerate(nouns)
    ]
    feedback = [{"id": row["id"], "right": decided == right, "category": right} for row in decisions]
    for name, rows in (("decisions", decisions), ("feedback", feedback)):
        (folder / f"{name}.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return ["--decisions", str(folder / "decisions.jsonl"), "--feedback", str(folder / "feedback.jsonl")]
