"""How good a router is: on held-out rows, on families it never saw, on prompts that are none of its business.

Owns the measures and the protocols; every figure is computed, none is chosen. Knows nothing about experts. Drawing is
optional: without matplotlib there are numbers only.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.metrics import f1_score, roc_auc_score

from router.artefact import Artefact
from router.prompts import Prompt
from router.scores import score, similarity_to
from router.train import (
    DEFAULTS,
    SHIPPED,
    OutOfFold,
    Settings,
    calibrate,
    choose_exemplars,
    fit_model,
    out_of_fold,
    whole,
)

__all__ = [
    "FoldReport",
    "Measures",
    "add_arguments",
    "auroc",
    "expected_calibration_error",
    "leave_family_out",
    "measure",
    "run",
]

Floats = NDArray[np.floating]
NUM_BINS = 15
COVERAGE = 0.8


@dataclass(frozen=True, slots=True)
class Measures:
    """What a classifier does on labelled prompts; `abstained` is the share that is in doubt."""

    num_prompts: int
    accuracy: float
    macro_f1: float
    ece: float
    abstained: float


@dataclass(frozen=True, slots=True)
class FoldReport:
    """Leave one family out. `score` is the mean over topics of the mean over that topic's folds."""

    score: float
    score_with_abstaining: float  # an abstention is right for `general`, wrong for all others
    selective_accuracy: float  # of the 80 % of left-out prompts with the highest confidence
    ece: float
    abstained: float  # share of left-out prompts, `general` aside, that abstain
    topics: Mapping[str, float]
    folds: Mapping[str, float]


def expected_calibration_error(confidence: Floats, is_right: NDArray[np.bool_]) -> float:
    """Return the mean gap between confidence and accuracy over equal-width bins, weighted by bin size."""
    bins = np.minimum((confidence * NUM_BINS).astype(int), NUM_BINS - 1)
    gaps = np.bincount(bins, confidence - is_right, minlength=NUM_BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def auroc(inside: Floats, outside: Floats) -> float:
    """Return the chance that a random in-domain value is above a random out-of-scope one."""
    labels = np.r_[np.ones(len(inside)), np.zeros(len(outside))]
    return float(roc_auc_score(labels, np.r_[inside, outside]))


def measure(artefact: Artefact, prompts: Sequence[Prompt], vectors: NDArray[np.float32]) -> Measures:
    """Return the measures of an artefact on labelled prompts; a category it does not have counts as wrong."""
    scores = score(artefact, vectors)
    confidence = scores.probabilities.max(axis=1)
    truth = np.array([prompt.category for prompt in prompts])
    guess = np.array(artefact.categories)[scores.probabilities.argmax(axis=1)]
    return Measures(
        len(prompts),
        float((guess == truth).mean()),
        float(f1_score(truth, guess, average="macro", zero_division=0)),
        expected_calibration_error(confidence, guess == truth),
        float((~artefact.abstain.is_sure(confidence, scores.similarity)).mean()),
    )


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What was said about the rows of a family that the model never saw."""

    topic: str
    family: str
    confidence: Floats
    is_right: NDArray[np.bool_]
    is_sure: NDArray[np.bool_]

    @property
    def is_right_with_abstaining(self) -> NDArray[np.bool_]:
        return (self.is_right | ~self.is_sure) if self.topic == "general" else (self.is_right & self.is_sure)


def leave_family_out(
    prompts: Sequence[Prompt],
    vectors: NDArray[np.float32],
    folds: Mapping[str, Sequence[str]],
    settings: Settings = DEFAULTS,
) -> FoldReport:
    """Return how a recipe does on families it never saw; `folds` is topic -> families, each left out in turn.

    Covered: the classifier never sees the family, and temperature and thresholds are fitted on the other rows. Not
    covered: the cross-validated scores of those other rows come from models that did see it.
    """
    labels = np.unique([prompt.category for prompt in prompts], return_inverse=True)[1]
    known = out_of_fold(prompts, vectors, labels, settings)
    left_out = [
        judge_family(prompts, vectors, labels, known, topic, family, settings)
        for topic, families in folds.items()
        for family in families
    ]
    return summarise(left_out)


def judge_family(
    prompts: Sequence[Prompt],
    vectors: NDArray[np.float32],
    labels: NDArray[np.integer],
    known: OutOfFold,
    topic: str,
    family: str,
    settings: Settings,
) -> LeftOut:
    """Train without a family and judge on it."""
    held = np.array([prompt.family == family for prompt in prompts])
    rest = np.flatnonzero(~held)
    model = fit_model([prompts[row] for row in rest.tolist()], vectors[rest], settings)
    temperature, rule = calibrate(OutOfFold(known.logits[rest], known.similarity[rest]), labels[rest], settings)
    probabilities = softmax(model.logits(vectors[held]) / temperature, axis=1)
    confidence = probabilities.max(axis=1)
    is_right = model.classes_[probabilities.argmax(axis=1)] == topic
    exemplars = whole(vectors[rest[choose_exemplars(labels[rest], settings)]])
    is_sure = rule.is_sure(confidence, similarity_to(exemplars, vectors[held]))
    return LeftOut(topic, family, confidence, is_right, is_sure)


def summarise(left_out: Sequence[LeftOut]) -> FoldReport:
    """Return the report over all folds."""
    topics = sorted({fold.topic for fold in left_out})
    per_topic = {t: float(np.mean([f.is_right.mean() for f in left_out if f.topic == t])) for t in topics}
    abstaining = [np.mean([f.is_right_with_abstaining.mean() for f in left_out if f.topic == t]) for t in topics]
    confidence = np.concatenate([fold.confidence for fold in left_out])
    is_right = np.concatenate([fold.is_right for fold in left_out])
    surest = np.argsort(-confidence, kind="stable")[: int(COVERAGE * len(confidence))]
    in_domain = np.concatenate([fold.is_sure for fold in left_out if fold.topic != "general"])
    return FoldReport(
        float(np.mean(list(per_topic.values()))),
        float(np.mean(abstaining)),
        float(is_right[surest].mean()),
        expected_calibration_error(confidence, is_right),
        float((~in_domain).mean()),
        per_topic,
        {f"{fold.topic}: {fold.family}": float(fold.is_right.mean()) for fold in left_out},
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `coe router evaluate`."""
    parser.add_argument("prompts", type=Path, help="file or folder of labelled prompts")
    parser.add_argument("--artefact", type=Path, help="a trained router; default: the shipped one")
    parser.add_argument("--split", help="only rows of this split, for example test")
    parser.add_argument("--folds", type=Path, help="JSON with `folds`: {topic: [family]}; adds leave-family-out")
    parser.add_argument("--device", default="cpu", help="where the encoder runs")
    parser.add_argument("--cache", type=Path, help="folder that keeps embeddings between runs")
    parser.add_argument("--json", type=Path, help="write the figures here, too")


def run(args: argparse.Namespace) -> int:
    """Run `coe router evaluate`; returns the exit code."""
    from router.artefact import DEFAULT_FOLDER
    from router.prompts import read_prompts
    from router.train import encoder_for

    artefact = Artefact.load(args.artefact or DEFAULT_FOLDER)
    encoder = encoder_for(artefact.encoder_source, args.device, args.cache)
    artefact.check_encoder(encoder.id)
    prompts = read_prompts(args.prompts).prompts
    chosen = [prompt for prompt in prompts if args.split in (None, prompt.split)]
    result: dict[str, Any] = {"held_out": asdict(measure(artefact, chosen, encoder.encode([p.text for p in chosen])))}
    if args.folds:
        result["left_out_families"] = asdict(judge_folds(prompts, encoder, args.folds))
    text = json.dumps(result, indent=1, ensure_ascii=False)
    if args.json:
        args.json.write_text(text + "\n", encoding="utf-8")
    print_table(result)
    print(json.dumps(result, ensure_ascii=False))
    return 0


def judge_folds(prompts: Sequence[Prompt], encoder: Any, path: Path) -> FoldReport:
    """Run the protocol on all rows and the project's own prompts."""
    from router.own import own_prompts

    folds = json.loads(path.read_text(encoding="utf-8"))["folds"]
    rows = [prompt for prompt in (*prompts, *own_prompts()) if prompt.category in folds]
    return leave_family_out(rows, encoder.encode([prompt.text for prompt in rows]), folds, SHIPPED)


def print_table(result: Mapping[str, Mapping[str, Any]]) -> None:
    """Print what was measured, one figure a line."""
    for part, figures in result.items():
        print(part)
        for name, value in figures.items():
            rows = value.items() if isinstance(value, Mapping) else [("", value)]
            for label, figure in rows:
                print(f"  {f'{name} {label}'.strip():60} {figure if isinstance(figure, int) else round(figure, 4)}")


def main() -> int:
    """Run as `python -m router.evaluate`."""
    parser = argparse.ArgumentParser(prog="python -m router.evaluate", description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    raise SystemExit(main())
