"""Published result tables as rows of `{prompt, category, scores: {model: 0 … 1 or null}}`: a file for each model.

Owns two layouts. RouterArena: `cached_results/MODEL.jsonl`, a line per prompt with `global_index`, `question`,
`llm_selected` and `evaluation_result.score`, and `predictions/ROUTER.json`, a list with `global index`, `prompt`,
`prediction` and `accuracy`; the category is the data set that the index begins with. LLMRouterBench:
`DATASET/SPLIT/MODEL/TIME.json` with `records` of `index`, `prompt` and `score`; the category is the data set, and of
several files of one model the latest counts. A score beyond 0 … 1 (some metrics go below 0) counts as the nearer of
the two. A folder may also hold tables of our own. Knows nothing about mappings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from router.labelled.rows import RawRow, read_rows

__all__ = ["is_published", "published_rows"]

DATASET = re.compile(r"[^_-]+")  # MMLUPro of MMLUPro_law_12, WMT19 of WMT19-gu-en_3
LINES = (".jsonl", ".jsonl.gz")


class Answer(NamedTuple):
    """One model's score on one prompt; None where it was not judged."""

    key: str  # the prompt's, the same for every model
    prompt: str
    category: str
    model: str
    score: float | None


def is_published(path: Path) -> bool:
    """Return whether a table is given in one of these layouts: as a folder, or as one JSON file."""
    return path.is_dir() or path.name.endswith(".json")


def published_rows(path: Path) -> Iterator[RawRow]:
    """Yield a row for every prompt of a folder of result files, or of one.

    Raises:
        ValueError: nothing in it has one of the layouts, or a file is not JSON.
    """
    files = (
        sorted(file for file in path.rglob("*") if file.name.endswith((".json", *LINES))) if path.is_dir() else [path]
    )
    merged: dict[str, dict[str, Any]] = {}
    num_rows = 0
    for found in answers_in(files):
        num_rows += 1
        if isinstance(found, RawRow):
            yield found
            continue
        row = merged.setdefault(found.key, {"prompt": found.prompt, "category": found.category, "scores": {}})
        if found.score is not None or found.model not in row["scores"]:
            row["scores"][found.model] = found.score
    if not num_rows:
        raise ValueError(
            f"{path}: no result table there; known are RouterArena's cached_results and predictions, LLMRouterBench's "
            f"results/bench, and rows of {{prompt, category, scores}}"
        )
    for key, row in merged.items():
        yield RawRow(key, row)


def answers_in(files: Iterable[Path]) -> Iterator[Answer | RawRow]:
    """Yield the answers of all files, and the rows of our own tables as they are."""
    bench: dict[tuple[str, str, str], Mapping[str, Any]] = {}
    for file in files:
        if file.name.endswith(LINES):
            yield from answers_of_lines(file)
            continue
        content = json_in(file)
        if isinstance(content, list):
            yield from predictions(content)
        elif isinstance(content, dict) and isinstance(content.get("records"), list) and not content.get("demo"):
            bench[bench_names(content, file)] = content  # files come by name, which ends in the time
    for names, content in bench.items():
        yield from records(content["records"], names)


def answers_of_lines(file: Path) -> Iterator[Answer | RawRow]:
    """Yield the answers of a model's lines, or the rows of a table of our own."""
    for row in read_rows(file):
        value = row.value
        if isinstance(value, dict) and "global_index" in value:
            judged = value.get("evaluation_result")
            score = judged.get("score") if isinstance(judged, dict) else None
            model = str(value.get("llm_selected") or file.name.split(".jsonl")[0])
            yield answer(value["global_index"], value.get("question"), model, score)
        elif isinstance(value, ValueError) or (isinstance(value, dict) and "scores" in value):
            yield row


def predictions(rows: Iterable[object]) -> Iterator[Answer]:
    """Yield the answers of one router's predictions: of each prompt, the chosen model's."""
    for row in rows:
        if isinstance(row, dict) and "global index" in row and isinstance(row.get("prediction"), str):
            yield answer(row["global index"], row.get("prompt"), row["prediction"], row.get("accuracy"))


def answer(index: object, prompt: object, model: str, score: object) -> Answer:
    dataset = DATASET.match(str(index))
    return Answer(str(index), str(prompt or ""), dataset[0] if dataset else "", model, within(score))


def records(rows: Iterable[object], names: tuple[str, str, str]) -> Iterator[Answer]:
    """Yield the answers of one model on one data set."""
    dataset, split, model = names
    for row in rows:
        if isinstance(row, dict):
            key = f"{dataset}/{split}/{row.get('index')}"
            prompt = row.get("prompt") if isinstance(row.get("prompt"), str) else row.get("origin_query")
            yield Answer(key, str(prompt or ""), dataset, model, within(row.get("score")))


def bench_names(content: Mapping[str, Any], file: Path) -> tuple[str, str, str]:
    """Return data set, split and model: as the file says, else as its folders are called."""
    folders = [parent.name for parent in file.parents][:3]
    model, split, dataset = [*folders, "", "", ""][:3]
    said = (content.get("dataset_name"), content.get("split"), content.get("model_name"))
    one, two, three = (str(name or folder) for name, folder in zip(said, (dataset, split, model), strict=True))
    return one, two, three


def within(score: object) -> float | None:
    """Return the score, the nearer bound for one beyond 0 … 1, None for what is no number."""
    if not isinstance(score, (int, float)) or score != score:
        return None
    return min(1.0, max(0.0, float(score)))


def json_in(file: Path) -> object:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file}: not JSON ({error})") from error
