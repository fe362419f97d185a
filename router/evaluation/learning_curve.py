"""The command `learning-curve`: how right a router of one's own is with 0, 1, 3, 10, 50 or all rows a category.

Owns the draws of rows, the comparison with plain logistic regression on the same embeddings, and the table. Both see
the same rows and are judged on the same ones, which share no near-duplicate with them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from router.encoding.cached_encoder import load_encoder
from router.encoding.sentence_model import DEFAULT_SOURCE
from router.encoding.text_encoder import TextEncoder
from router.labelled.descriptions import read_descriptions
from router.labelled.prompts import Prompt, read_prompts
from router.model.centre import around
from router.training.classifier import CategoryClassifier
from router.training.exemplars import whole
from router.training.fitting import fit_model
from router.training.out_of_fold import out_of_fold
from router.training.own.described import GENERAL
from router.training.own.general_class import general_prompts, shift_of
from router.training.recipe import DEFAULTS
from router.training.training_set import TrainingSet

__all__ = ["add_arguments", "run"]

PLAIN_C = 10.0  # of the logistic regression that is compared with
JUDGED_SHARE = 0.3  # where a table has no test rows
ALL = "all"
Rows = NDArray[np.intp]
Floats = NDArray[np.floating]


class Table(NamedTuple):
    """A table as a training set, with general prompts among it: half of them to learn from, half to judge."""

    name: str
    rows: TrainingSet
    learned: Rows
    judged: Rows
    general_learned: Rows
    general_judged: Rows


class Point(NamedTuple):
    """A table at a number of rows a category. `difference` is described minus plain, with its paired 95 % interval.

    `own_beside_general` is the share of the table's rows that are right when general prompts are a class, too, and
    `general_kept` the share of general prompts that are sorted as such.
    """

    table: str
    rows: str
    described: float
    plain: float
    difference: float
    low: float
    high: float
    own_beside_general: float | None = None
    general_kept: float | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `coe router learning-curve`."""
    parser.add_argument("tables", nargs="+", type=Path, help="files of labelled prompts")
    parser.add_argument("--descriptions", nargs="*", type=Path, default=[], help="a JSON file for each table, in order")
    parser.add_argument("--rows", nargs="+", default=["0", "1", "3", "10", "50", ALL], help="rows a category")
    parser.add_argument("--seeds", type=int, default=5, help="draws of rows (default 5)")
    parser.add_argument("--judged", type=int, default=300, help="rows to judge at most (default 300)")
    parser.add_argument("--general", action="store_true", help="judge beside general prompts, too (slower)")
    parser.add_argument("--encoder", default=DEFAULT_SOURCE)
    parser.add_argument("--cache", type=Path, help="folder that keeps embeddings between runs")
    parser.add_argument("--json", type=Path, help="write the figures here")


def run(args: argparse.Namespace) -> int:
    """Run `coe router learning-curve`; returns the exit code."""
    for rows in args.rows:
        if rows != ALL and not rows.isdecimal():
            raise ValueError(f"--rows {rows}: write numbers of rows a category, or {ALL}")
    if args.descriptions and len(args.descriptions) != len(args.tables):
        raise ValueError(
            f"{len(args.tables)} tables and {len(args.descriptions)} descriptions: give one for each table"
        )
    encoder = load_encoder(args.encoder, cache=args.cache)
    points = []
    for place, path in enumerate(args.tables):
        sentences = read_descriptions(args.descriptions[place]) if args.descriptions else {}
        table = table_of(path, sentences, encoder, args.judged)
        for rows in args.rows:
            points.append(point_of(table, rows, args.seeds, beside_general=args.general))
            print(line_of(points[-1]), flush=True)
    print("\n".join(means_of(points)))
    if args.json:
        figures = {"encoder": encoder.id, "seeds": args.seeds, "judged": args.judged, "plain_c": PLAIN_C}
        written = figures | {"points": [point._asdict() for point in points]}
        args.json.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    return 0


def table_of(path: Path, sentences: Mapping[str, str], encoder: TextEncoder, num_judged: int) -> Table:
    """Read and encode a table; its rows of the split `test` are judged, or a seeded share of its near-duplicates."""
    prompts = [prompt for prompt in read_prompts(path).prompts if prompt.category != GENERAL]
    general = [replace(prompt, split="general") for prompt in general_prompts()]
    rows = TrainingSet.of([*prompts, *general], encoder, sentences)
    is_table = np.arange(len(rows.labels)) < len(prompts)
    is_judged = is_table & judged_rows(prompts, rows.groups)
    is_learned = is_table & ~is_judged & ~np.isin(rows.groups, rows.groups[is_judged])
    judged = np.random.default_rng(0).permutation(np.flatnonzero(is_judged))[:num_judged]
    others = np.flatnonzero(~is_table)
    return Table(path.name.split(".")[0], rows, np.flatnonzero(is_learned), judged, others[::2], others[1::2])


def judged_rows(prompts: Sequence[Prompt], groups: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Return (rows,) True for the rows to judge."""
    is_test = np.zeros(len(groups), np.bool_)
    is_test[: len(prompts)] = [prompt.split == "test" for prompt in prompts]
    if is_test.any() and not is_test[: len(prompts)].all():
        return is_test
    distinct = np.unique(groups[: len(prompts)])
    chosen = np.random.default_rng(0).permutation(distinct)[: int(len(distinct) * JUDGED_SHARE)]
    return np.asarray(np.isin(groups, chosen))


def point_of(table: Table, rows: str, num_seeds: int, *, beside_general: bool) -> Point:
    """Return the mean over several draws of so many rows a category."""
    truth = table.rows.labels[table.judged]
    draws = [drawn(table, rows, seed) for seed in range(num_seeds if rows not in ("0", ALL) else 1)]
    described = np.array([described_logits(table, learned).argmax(axis=1) == truth for learned in draws])
    plain = np.array([plain_labels(table, learned) == truth for learned in draws])
    apart = (described.astype(float) - plain).mean(axis=0)
    half = 1.96 * apart.std(ddof=1) / np.sqrt(len(apart))
    beside = [among_general(table, learned) for learned in draws] if beside_general else []
    mean = float(apart.mean())
    means = [float(value) for value in np.mean(beside, axis=0)] if beside else [None, None]
    return Point(table.name, rows, float(described.mean()), float(plain.mean()), mean, mean - half, mean + half, *means)


def drawn(table: Table, rows: str, seed: int) -> Rows:
    """Return a seeded draw of rows to learn from, so many of each category that has them."""
    if rows == ALL:
        return table.learned
    labels, chance = table.rows.labels[table.learned], np.random.default_rng(seed)
    of_each = [chance.permutation(table.learned[labels == label])[: int(rows)] for label in np.unique(labels)]
    return np.sort(np.concatenate(of_each))


def described_logits(table: Table, learned: Rows) -> Floats:
    """Return (judged, categories) of the recipe for own categories; the general class is learned and ruled out."""
    judged, rows = table.rows.take(table.judged), np.concatenate([learned, table.general_learned])
    logits = fit_model(table.rows.take(rows), DEFAULTS).logits_of(judged.vectors, judged.term_counts)
    logits[:, table.rows.categories.index(GENERAL)] = -np.inf
    return logits


def plain_labels(table: Table, learned: Rows) -> NDArray[np.integer]:
    """Return (judged,) labels of logistic regression on centred embeddings; without a row, of category 0."""
    vectors, labels = whole(table.rows.vectors), table.rows.labels
    if len(np.unique(labels[learned])) < 2:
        return np.zeros(len(table.judged), np.intp)
    centre, names = vectors[learned].mean(axis=0, keepdims=True), np.array(table.rows.categories)
    model = CategoryClassifier(C=PLAIN_C).fit(around(vectors[learned], centre), names[labels[learned]])
    return np.searchsorted(names, model.predict(around(vectors[table.judged], centre)))


def among_general(table: Table, learned: Rows) -> tuple[float, float]:
    """Return the shares of judged rows and of general prompts that are right where both are sorted."""
    general = table.rows.categories.index(GENERAL)
    rows, recipe = table.rows.take(np.concatenate([learned, table.general_learned])), replace(DEFAULTS, num_folds=2)
    held = out_of_fold(rows, recipe, rows.groups, np.ones(len(rows.labels), np.bool_))
    judged = table.rows.take(np.concatenate([table.judged, table.general_judged]))
    logits = fit_model(rows, recipe).logits_of(judged.vectors, judged.term_counts)
    logits[:, general] += shift_of(rows, held.rows, held.logits)
    is_right = logits.argmax(axis=1) == judged.labels
    return float(is_right[: len(table.judged)].mean()), float(is_right[len(table.judged) :].mean())


def line_of(point: Point) -> str:
    beside = ""
    if point.own_beside_general is not None:
        beside = f", beside general prompts {point.own_beside_general:.3f}, of which {point.general_kept:.3f} are kept"
    return (
        f"{point.table:20} {point.rows:>4} rows: {point.described:.3f}, logistic regression {point.plain:.3f}, "
        f"{point.difference:+.3f} [{point.low:+.3f}, {point.high:+.3f}]{beside}"
    )


def means_of(points: Sequence[Point]) -> list[str]:
    """Return a line for each number of rows: the mean over tables."""
    lines = []
    for rows in dict.fromkeys(point.rows for point in points):
        each = [point for point in points if point.rows == rows]
        described, plain = np.mean([point.described for point in each]), np.mean([point.plain for point in each])
        lines.append(f"mean of {len(each)} tables, {rows:>4} rows: {described:.3f}, logistic regression {plain:.3f}")
    return lines
