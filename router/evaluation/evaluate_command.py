"""The command `evaluate`: a router on labelled prompts, its recipe on left-out families and out-of-scope prompts.

Owns its arguments, what is measured for them, the table, the JSON and the reliability diagrams. Knows nothing about
experts.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from router.encoding.cached_encoder import load_encoder
from router.encoding.text_encoder import TextEncoder
from router.evaluation.calibration import reliability
from router.evaluation.evaluation_table import lines_of
from router.evaluation.leave_family_out import (
    Fold,
    OutOfScopePrompts,
    chosen_by_others,
    fold_accuracies,
    leave_family_out,
    mean_over_topics,
    out_of_scope_report,
    pooled,
    summarise,
)
from router.evaluation.measures import SEED, Evaluation, evaluate
from router.evaluation.out_of_scope import is_personal
from router.labelled.authored import authored_prompts
from router.labelled.bad_rows import lines_about
from router.labelled.prompts import Prompt, of_split, read_prompts
from router.model.artefact import Artefact, load_artefact
from router.training.recipe import SHIPPED, candidates_of
from router.training.self_labelling import read_unlabelled
from router.training.training_set import TrainingSet

__all__ = ["add_arguments", "evaluation_of", "run"]

MAIN_TABLE = "left_out_families"
MIN_FOLD_ROWS = 5
Draw = Callable[[Mapping[Path, Callable[[Any], None]]], None]  # files, and what paints on a figure for each


class FamilyFolds(NamedTuple):
    """A training set, and the families of each topic that are left out in turn."""

    training_set: TrainingSet
    folds: list[Fold]

    @classmethod
    def of(
        cls,
        topics: Mapping[str, Sequence[str]],
        tables: Mapping[Path, Sequence[Prompt]],
        prompts: Sequence[Prompt],
        encoder: TextEncoder,
    ) -> FamilyFolds:
        """Return the folds of these families and of every family of the tables.

        These prompts, the tables' and the authored ones are taken, of the folds' topics.
        """
        folds = [Fold(topic, family, MAIN_TABLE) for topic, families in topics.items() for family in families]
        known = {(fold.topic, fold.family) for fold in folds}
        for table, rows in tables.items():
            sizes = Counter((row.category, row.family) for row in rows if row.category in topics)
            large = sorted(pair for pair, size in sizes.items() if size >= MIN_FOLD_ROWS and pair not in known)
            folds += [Fold(*pair, table.name.split(".")[0]) for pair in large]
            known |= set(large)
        every = [*prompts, *(row for rows in tables.values() for row in rows), *authored_prompts()]
        return cls(TrainingSet.of([prompt for prompt in every if prompt.category in topics], encoder), folds)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `coe router evaluate`."""
    parser.add_argument("prompts", type=Path, help="file or folder of labelled prompts")
    parser.add_argument("--artefact", type=Path, help="a trained router; default: the shipped one")
    parser.add_argument("--split", help="only rows of this split, for example test; default and `all`: every row")
    parser.add_argument("--folds", type=Path, help="JSON with `folds`: {topic: [family]}; adds leave-family-out")
    parser.add_argument(
        "--also",
        type=Path,
        nargs="*",
        default=(),
        help="with --folds: further tables; each of their families is a fold, too",
    )
    parser.add_argument("--recipes", action="store_true", help="with --folds: every candidate recipe, too (slow)")
    parser.add_argument("--outside", type=Path, help="with --folds: out-of-scope prompts; adds their AUROC")
    parser.add_argument("--device", default="cpu", help="where the encoder runs")
    parser.add_argument("--cache", type=Path, help="folder that keeps embeddings between runs")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    parser.add_argument("--plot", type=Path, help="draw the reliability diagrams here")


def run(args: argparse.Namespace, machine: Mapping[str, object], draw: Draw) -> int:
    """Run `coe router evaluate`; `machine` says where the figures were made. Returns the exit code.

    The figures are written and printed before anything is drawn.
    """
    found = evaluation_of(load_artefact(args.artefact), args)
    figures = found.figures | {"made_with": {**machine, "seed": SEED}}
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(*lines_of(figures), sep="\n")
    print(json.dumps(figures, ensure_ascii=False))
    if args.plot:
        draw({args.plot: partial(paint, found)})
    return 0


def evaluation_of(artefact: Artefact, args: argparse.Namespace) -> Evaluation:
    """Measure what the arguments ask for: prompts, split, folds, recipes, outside, device, cache."""
    prompts = read_told(args.prompts)
    chosen = of_split(prompts, args.split)
    topics = topics_in(args.folds) if args.folds else {}
    tables = {table: read_told(table) for table in args.also}
    encoder = load_encoder(artefact.encoder_source, args.device, args.cache)
    artefact.check_encoder(encoder.id)
    found = evaluate(artefact, chosen, encoder)
    if topics:
        folds = FamilyFolds.of(topics, tables, prompts, encoder)
        out_of_scope = read_out_of_scope(args.outside, encoder) if args.outside else None
        found = found.joined(judge_families(folds, out_of_scope))
        if args.recipes:
            found = found.joined(compare_recipes(folds))
    return found


def read_told(path: Path) -> tuple[Prompt, ...]:
    """Return the prompts of a file or folder, and print what was left out of it."""
    found = read_prompts(path)
    if found.bad_rows:
        print(*lines_about(found.bad_rows), sep="\n")
    return found.prompts


def topics_in(path: Path) -> dict[str, list[str]]:
    """Return topic -> families of a file of folds; raises ValueError for any other."""
    try:
        topics = json.loads(path.read_text(encoding="utf-8"))["folds"]
        return {str(topic): [str(family) for family in families] for topic, families in topics.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not a JSON file of {{folds: {{topic: [family]}}}} ({error})") from error


def judge_families(folds: FamilyFolds, out_of_scope: OutOfScopePrompts | None) -> Evaluation:
    """Measure the shipped recipe on families that its models never saw."""
    left_out = leave_family_out(folds.training_set, folds.folds, SHIPPED, out_of_scope)
    tables = {table: [each for each in left_out if each.fold.table == table] for table in tables_of(folds)}
    figures: dict[str, Any] = {table: asdict(summarise(each)) for table, each in tables.items()}
    if out_of_scope:
        figures["out_of_scope"] = asdict(out_of_scope_report(tables[MAIN_TABLE]))
    return Evaluation(figures, {table: reliability(*pooled(each)) for table, each in tables.items()})


def tables_of(folds: FamilyFolds) -> list[str]:
    return list(dict.fromkeys(fold.table for fold in folds.folds))


def compare_recipes(folds: FamilyFolds) -> Evaluation:
    """Return the score of every candidate recipe, and of the recipes that each fold takes from all other folds."""
    topics = [fold.topic for fold in folds.folds]
    candidates = candidates_of(SHIPPED)
    accuracies = fold_accuracies(folds.training_set, folds.folds, candidates)
    scores = {c.name: mean_over_topics(row, topics) for c, row in zip(candidates, accuracies, strict=True)}
    chosen = mean_over_topics(chosen_by_others(accuracies, topics), topics)
    return Evaluation({"recipes": scores, "recipe chosen by the other folds": {"score": chosen}}, {})


def read_out_of_scope(path: Path, encoder: TextEncoder) -> OutOfScopePrompts:
    """Return the prompts of a file that are about the asker's own things, not plain general knowledge.

    Raises:
        ValueError: the file has no such prompt.
    """
    texts = tuple(prompt.text for prompt in read_unlabelled(path).prompts if is_personal(prompt.text))
    if not texts:
        raise ValueError(f"{path}: no row with a 'prompt' about the asker's own things; nothing to judge doubt by")
    return OutOfScopePrompts(texts, encoder.encode(texts))


def paint(evaluation: Evaluation, figure: Any) -> None:
    """Paint the reliability diagrams."""
    figure.set_size_inches(4.5 * len(evaluation.bins), 4)
    axes = figure.subplots(1, len(evaluation.bins), squeeze=False)
    for axis, (name, bins) in zip(axes[0], evaluation.bins.items(), strict=True):
        axis.plot([0, 1], [0, 1], color="grey", linewidth=1)
        axis.plot([b.confidence for b in bins], [b.accuracy for b in bins], marker="o")
        axis.set(title=name, xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
