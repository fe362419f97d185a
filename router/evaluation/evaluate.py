"""How good a router is: on held-out rows, on rewritten ones, on families it never saw, on what is none of its business.

Owns the measures of a loaded router and the command `evaluate`; every figure is computed, none is chosen. Knows nothing
about experts.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from router.encoding.cached_encoder import load_encoder
from router.encoding.text_encoder import TextEncoder
from router.evaluation.calibration import Bin, expected_calibration_error, reliability
from router.evaluation.folds import (
    Outsiders,
    against_outsiders,
    chosen_by_others,
    fold_accuracies,
    leave_family_out,
    mean_over_topics,
    pooled,
    summarise,
)
from router.evaluation.out_of_scope import is_personal
from router.evaluation.rewritings import REWRITINGS, rewritten
from router.model.artefact import Artefact, load_artefact
from router.model.scores import Scores, score
from router.training.prompts import Prompt, read_prompts
from router.training.recipe import SHIPPED, candidates_of
from router.training.self_labelling import read_unlabelled
from router.training.training_set import TrainingSet

__all__ = ["Evaluation", "Measures", "add_arguments", "evaluate", "evaluation_of", "measure", "run"]

Floats = NDArray[np.floating]
SEED = 0
NUM_REWRITTEN = 1000  # prompts that are measured under every rewriting


@dataclass(frozen=True, slots=True)
class Measures:
    """What a classifier does on labelled prompts; `abstained` is the share that is in doubt."""

    num_prompts: int
    accuracy: float
    macro_f1: float
    ece: float
    abstained: float


def measure(artefact: Artefact, prompts: Sequence[Prompt], scores: Scores) -> Measures:
    """Return the measures of an artefact on labelled prompts; a category it does not have counts as wrong."""
    confidence, is_right = said_of(artefact, prompts, scores)
    truth = np.array([prompt.category for prompt in prompts])
    guess = np.array(artefact.categories)[scores.probabilities.argmax(axis=1)]
    return Measures(
        len(prompts),
        float(is_right.mean()),
        float(f1_score(truth, guess, labels=np.unique(truth), average="macro", zero_division=0)),
        expected_calibration_error(confidence, is_right),
        float((~artefact.abstain.is_sure(confidence, scores.similarity)).mean()),
    )


def said_of(artefact: Artefact, prompts: Sequence[Prompt], scores: Scores) -> tuple[Floats, NDArray[np.bool_]]:
    """Return (n,) confidences and whether the most likely category is the prompt's."""
    guess = np.array(artefact.categories)[scores.probabilities.argmax(axis=1)]
    return scores.probabilities.max(axis=1), guess == np.array([prompt.category for prompt in prompts])


class Evaluation(NamedTuple):
    """What the command has measured so far: figures for the JSON, bins for the diagrams."""

    figures: dict[str, Any]
    bins: dict[str, list[Bin]]

    def joined(self, other: Evaluation) -> Evaluation:
        """Return both."""
        return Evaluation(self.figures | other.figures, self.bins | other.bins)


def evaluate(artefact: Artefact, prompts: Sequence[Prompt], encoder: TextEncoder) -> Evaluation:
    """Measure on prompts as they are and as people type them."""
    texts = [prompt.text for prompt in prompts]
    scores = score(artefact, encoder.encode(texts), texts)
    figures: dict[str, Any] = {"held_out": asdict(measure(artefact, prompts, scores))}
    sample = np.random.default_rng(SEED).permutation(len(prompts))[:NUM_REWRITTEN].tolist()
    some = [prompts[row] for row in sample]
    for name in ("as they are", *REWRITINGS):
        noisy = [prompt.text if name == "as they are" else rewritten(prompt.text, name) for prompt in some]
        measures = measure(artefact, some, score(artefact, encoder.encode(noisy), noisy))
        figures[f"sample of held_out, {name}"] = asdict(measures)
    return Evaluation(figures, {"held out": reliability(*said_of(artefact, prompts, scores))})


class Protocol(NamedTuple):
    """All rows and the authored prompts, and topic -> families, each left out in turn."""

    training_set: TrainingSet
    folds: dict[str, list[str]]

    @classmethod
    def read(cls, path: Path, prompts: Sequence[Prompt], encoder: TextEncoder) -> Protocol:
        """Read a JSON file with `folds`; prompts of other categories are left out."""
        from router.training.authored import authored_prompts

        folds = json.loads(path.read_text(encoding="utf-8"))["folds"]
        return cls(TrainingSet.of([p for p in (*prompts, *authored_prompts()) if p.category in folds], encoder), folds)


def judge_folds(protocol: Protocol, outsiders: Outsiders | None) -> Evaluation:
    """Return what the shipped recipe does on families it never saw."""
    left_out = leave_family_out(protocol.training_set, protocol.folds, SHIPPED, outsiders)
    figures: dict[str, Any] = {"left_out_families": asdict(summarise(left_out))}
    if outsiders:
        figures["out_of_scope"] = asdict(against_outsiders(left_out))
    return Evaluation(figures, {"left-out families": reliability(*pooled(left_out))})


def compare_recipes(protocol: Protocol) -> Evaluation:
    """Return the score of every candidate recipe, and of a recipe that each fold has from all other folds."""
    topics = [topic for topic, families in protocol.folds.items() for _ in families]
    candidates = candidates_of(SHIPPED)
    accuracies = fold_accuracies(protocol.training_set, protocol.folds, candidates)
    scores = {c.name: mean_over_topics(row, topics) for c, row in zip(candidates, accuracies, strict=True)}
    chosen = mean_over_topics(chosen_by_others(accuracies, topics), topics)
    return Evaluation({"recipes": scores, "recipe chosen by the other folds": {"score": chosen}}, {})


def read_outsiders(path: Path, encoder: TextEncoder) -> Outsiders:
    """Return the prompts of a JSONL file that are not plain general knowledge.

    Raises:
        ValueError: none is.
    """
    texts = tuple(prompt.text for prompt in read_unlabelled(path).prompts if is_personal(prompt.text))
    if not texts:
        raise ValueError(f"{path}: no row with a 'prompt' about the asker's own things; nothing to judge doubt by")
    return Outsiders(texts, encoder.encode(texts))


def draw(evaluation: Evaluation, path: Path) -> None:
    """Draw the reliability diagrams."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(evaluation.bins), figsize=(4.5 * len(evaluation.bins), 4), squeeze=False)
    for axis, (name, bins) in zip(axes[0], evaluation.bins.items(), strict=True):
        axis.plot([0, 1], [0, 1], color="grey", linewidth=1)
        axis.plot([b.confidence for b in bins], [b.accuracy for b in bins], marker="o")
        axis.set(title=name, xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `coe router evaluate`."""
    parser.add_argument("prompts", type=Path, help="file or folder of labelled prompts")
    parser.add_argument("--artefact", type=Path, help="a trained router; default: the shipped one")
    parser.add_argument("--split", help="only rows of this split, for example test")
    parser.add_argument("--folds", type=Path, help="JSON with `folds`: {topic: [family]}; adds leave-family-out")
    parser.add_argument("--recipes", action="store_true", help="with --folds: every candidate recipe, too (slow)")
    parser.add_argument("--outside", type=Path, help="with --folds: JSONL of out-of-scope prompts; adds their AUROC")
    parser.add_argument("--device", default="cpu", help="where the encoder runs")
    parser.add_argument("--cache", type=Path, help="folder that keeps embeddings between runs")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    parser.add_argument("--plot", type=Path, help="draw the reliability diagrams here")


def evaluation_of(artefact: Artefact, args: argparse.Namespace) -> Evaluation:
    """Measure what the arguments ask for: prompts, split, folds, recipes, outside, device, cache."""
    encoder = load_encoder(artefact.encoder_source, args.device, args.cache)
    artefact.check_encoder(encoder.id)
    prompts = read_prompts(args.prompts).prompts
    found = evaluate(artefact, [p for p in prompts if args.split in (None, p.split)], encoder)
    if args.folds:
        protocol = Protocol.read(args.folds, prompts, encoder)
        outsiders = read_outsiders(args.outside, encoder) if args.outside else None
        found = found.joined(judge_folds(protocol, outsiders))
        if args.recipes:
            found = found.joined(compare_recipes(protocol))
    return found


def run(args: argparse.Namespace, machine: Mapping[str, object]) -> int:
    """Run `coe router evaluate`; `machine` says where the figures were made. Returns the exit code."""
    found = evaluation_of(load_artefact(args.artefact), args)
    figures = found.figures | {"made_with": {**machine, "seed": SEED}}
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if args.plot:
        draw(found, args.plot)
    print_table(figures)
    print(json.dumps(figures, ensure_ascii=False))
    return 0


def print_table(result: Mapping[str, Mapping[str, Any]]) -> None:
    """Print what was measured, one figure a line."""
    for part, figures in result.items():
        print(part)
        for name, value in figures.items():
            rows = value.items() if isinstance(value, Mapping) else [("", value)]
            for label, figure in rows:
                shown = round(figure, 4) if isinstance(figure, float) else figure
                print(f"  {f'{name} {label}'.strip():60} {shown}")
