"""`coe bench answers`: how many prompts of a table would be answered by another one's answer, and how many wrongly.

Owns the measure: each prompt's nearest other prompt of its category, as the answer cache looks for it, with its guards
and without them. Where rows say their right answer, a neighbour with another one is certainly wrong; with the same one
it is perhaps right, so these are lower bounds. Rows and vectors are handed in. Knows nothing about encoders.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from coe.answers.guards import Marks, marks_of
from coe.answers.question import MAX_BYTES
from coe.bench.report import Output, record, table

__all__ = ["THRESHOLDS", "AskedRow", "Neighbours", "comparable", "measure", "publish"]

THRESHOLDS = (0.90, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99)
CHUNK = 512
UNKNOWN = -1  # the number of an answer that rows do not tell
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class AskedRow:
    """A prompt, its category, and the right answer: None where rows do not tell."""

    prompt: str
    category: str
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Of the prompts of a category: those with a neighbour from a threshold on, and those whose neighbour is wrong.

    `wrong` is None where no answer is known.
    """

    category: str
    threshold: float
    num_prompts: int
    answered: int
    wrong: int | None
    guarded_answered: int
    guarded_wrong: int | None


class _Nearest(NamedTuple):
    """Of n prompts: the cosine of the nearest other one (-1: none), and whether its answer is another."""

    cosines: Floats
    is_wrong: NDArray[np.bool_]


def comparable(rows: Iterable[AskedRow]) -> list[AskedRow]:
    """Return rows of different prompts that the cache compares by vectors: short ones, each once in its category."""
    short = (row for row in rows if len(row.prompt.encode("utf-8", "replace")) <= MAX_BYTES)
    return list({(row.category, row.prompt): row for row in short}.values())


def measure(rows: Sequence[AskedRow], vectors: Floats, thresholds: Sequence[float] = THRESHOLDS) -> list[Neighbours]:
    """Return the figures of each category, from the (n, parts, dims) unit vectors of the rows' prompts."""
    found = []
    for category in sorted({row.category for row in rows}):
        places = [at for at, row in enumerate(rows) if row.category == category]
        chosen = [rows[at] for at in places]
        plain, guarded = _nearest(chosen, vectors[places])
        knows = any(row.answer is not None for row in chosen)
        for threshold in thresholds:
            answered, strictly = plain.cosines >= threshold, guarded.cosines >= threshold
            found.append(
                Neighbours(
                    category,
                    threshold,
                    len(chosen),
                    int(answered.sum()),
                    int((answered & plain.is_wrong).sum()) if knows else None,
                    int(strictly.sum()),
                    int((strictly & guarded.is_wrong).sum()) if knows else None,
                )
            )
    return found


def publish(figures: Sequence[Neighbours], facts: dict[str, object], output: Output) -> None:
    """Print a table for people and one JSON line, and write the JSON where it goes."""
    headers = ("category", "cosine", "prompts", "answered", "wrong of them", "guarded: answered", "wrong of them")
    print(table(headers, [_row(each) for each in figures]))
    output.publish("answers", record("answers", {**facts, "neighbours": [asdict(each) for each in figures]}))


def _row(each: Neighbours) -> tuple[str, ...]:
    return (
        each.category,
        f"{each.threshold:.2f}",
        str(each.num_prompts),
        _share(each.answered, each.num_prompts),
        _share(each.wrong, each.answered),
        _share(each.guarded_answered, each.num_prompts),
        _share(each.guarded_wrong, each.guarded_answered),
    )


def _share(part: int | None, whole: int) -> str:
    return "-" if part is None or not whole else f"{part / whole:.1%}"


def _nearest(rows: Sequence[AskedRow], vectors: Floats) -> tuple[_Nearest, _Nearest]:
    """Return each prompt's nearest other one, among all and among those whose marks are the same."""
    marks = _numbered([marks_of(row.prompt) for row in rows])
    answers = np.where([row.answer is None for row in rows], UNKNOWN, _numbered([row.answer for row in rows]))
    parts = [np.ascontiguousarray(vectors[:, part]) for part in range(vectors.shape[1])]
    among_all, among_like = [], []
    for start in range(0, len(rows), CHUNK):
        chunk = slice(start, start + CHUNK)
        near = np.minimum.reduce([part[chunk] @ part.T for part in parts])
        here = np.arange(start, start + len(near))
        near[here - start, here] = -1.0
        among_all.append(_best(near, here, answers))
        among_like.append(_best(np.where(marks[chunk, None] == marks, near, np.float32(-1.0)), here, answers))
    return _joined(among_all), _joined(among_like)


def _best(near: Floats, here: NDArray[np.intp], answers: NDArray[np.intp]) -> _Nearest:
    best = near.argmax(axis=1)
    is_known = (answers[best] != UNKNOWN) & (answers[here] != UNKNOWN)
    return _Nearest(near[np.arange(len(near)), best], is_known & (answers[best] != answers[here]))


def _joined(chunks: Sequence[_Nearest]) -> _Nearest:
    return _Nearest(*(np.concatenate(each) for each in zip(*chunks, strict=True)))


def _numbered(values: Sequence[Marks | str | None]) -> NDArray[np.intp]:
    """Return (n,): a number for each value, the same for equal ones."""
    numbers = {value: at for at, value in enumerate(dict.fromkeys(values))}
    return np.array([numbers[value] for value in values], np.intp)
