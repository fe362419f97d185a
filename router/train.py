"""Prompts to an artefact: encode, cross-validate, fit, calibrate, set the abstain rule, keep exemplars.

Owns the recipe and its settings; every choice is made on out-of-fold values of the training rows, never on test rows.
Knows nothing about where prompts come from. `python -m router.train` rebuilds the shipped router.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.model_selection import StratifiedGroupKFold

from router.abstain import AbstainRule, fit_abstain
from router.artefact import DEFAULT_FOLDER, Artefact, Exemplar
from router.classifier import CategoryClassifier, fit_temperature
from router.prompts import Prompt, PromptSet, groups_of, read_prompts
from router.scores import similarity_to

__all__ = ["Settings", "TrainingEncoder", "add_arguments", "run", "train"]

MIN_PER_CATEGORY = 5


class TrainingEncoder(Protocol):
    """Texts to vectors; `id` and `source` go into the artefact."""

    @property
    def id(self) -> str: ...
    @property
    def source(self) -> str: ...
    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """The recipe.

    `penalty` is the L2 penalty against the mean loss (scikit-learn's C is 1 / (penalty * n)). `abstain_target` is the
    share of in-domain prompts that may abstain. `family_boosts` weighs families against the others of their category.
    """

    penalty: float = 3e-3
    abstain_target: float = 0.05
    num_exemplars: int = 3000
    num_folds: int = 5
    seed: int = 0
    family_boosts: Mapping[str, float] = field(default_factory=dict)


DEFAULTS = Settings()
SHIPPED = Settings(  # docs/routing.md says what was tried
    penalty=1e-3, family_boosts={"coe own": 6.0, "suzgunmirac/BIG-Bench-Hard": 3.0, "clinc/oos-eval": 3.0}
)


class OutOfFold(NamedTuple):
    """What the classifier said about prompts it was not fitted on."""

    logits: NDArray[np.floating]  # (n, categories)
    similarity: NDArray[np.floating]  # (n,)


def train(prompts: Sequence[Prompt], encoder: TrainingEncoder, settings: Settings = DEFAULTS) -> Artefact:
    """Return the artefact of these prompts.

    Raises:
        ValueError: fewer than two categories, or one with fewer than five prompts.
    """
    check_balance(prompts)
    vectors = encoder.encode([prompt.text for prompt in prompts])
    categories, labels = np.unique([prompt.category for prompt in prompts], return_inverse=True)
    held_out = out_of_fold(prompts, vectors, labels, settings)
    temperature, rule = calibrate(held_out, labels, settings)
    model = fit_model(prompts, vectors, settings)
    chosen = choose_exemplars(labels, settings)
    return Artefact(
        encoder_source=encoder.source,
        encoder_id=encoder.id,
        categories=tuple(categories.tolist()),
        temperature=temperature,
        abstain=rule,
        coef=model.coef_.astype(np.float32),
        intercept=model.intercept_.astype(np.float32),
        exemplars=whole(vectors[chosen]),
        exemplar_rows=tuple(Exemplar(p.id, p.source, p.category) for p in (prompts[i] for i in chosen)),
        data=data_card(prompts),
        metrics={"out_of_fold_accuracy": round(float((held_out.logits.argmax(1) == labels).mean()), 4)},
    )


def calibrate(held_out: OutOfFold, labels: NDArray[np.integer], settings: Settings) -> tuple[float, AbstainRule]:
    """Return the temperature and the abstain rule that out-of-fold values call for."""
    temperature = fit_temperature(held_out.logits, labels)
    confidence = softmax(held_out.logits / temperature, axis=1).max(axis=1)
    return temperature, fit_abstain(confidence, held_out.similarity, settings.abstain_target)


def fit_model(prompts: Sequence[Prompt], vectors: NDArray[np.float32], settings: Settings) -> CategoryClassifier:
    """Return the classifier of these prompts; its classes are category names."""
    model = CategoryClassifier(C=1.0 / (settings.penalty * len(prompts)), class_weight=None)
    return model.fit(vectors, [prompt.category for prompt in prompts], family_weights(prompts, settings))


def check_balance(prompts: Sequence[Prompt]) -> None:
    """Raises ValueError unless every category can be cross-validated."""
    groups = {(p.category, group) for p, group in zip(prompts, groups_of([p.text for p in prompts]), strict=True)}
    balance = Counter(category for category, _ in groups)
    if len(balance) < 2:
        raise ValueError(f"categories {sorted(balance)}: a router needs two or more; add labelled prompts of another")
    for category, count in balance.items():
        if count < MIN_PER_CATEGORY:
            raise ValueError(
                f"category '{category}' has {count} distinct prompt(s), near-duplicates counted once: at least "
                f"{MIN_PER_CATEGORY} are needed; add some, or leave the category out"
            )


def whole(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the whole-text third of (n, 3 * hidden) vectors."""
    return vectors[:, : vectors.shape[1] // 3]


def family_weights(prompts: Sequence[Prompt], settings: Settings) -> NDArray[np.float64]:
    """Return (n,) weights: categories count alike, and inside one a family counts by its square root times its boost.

    A benchmark with thousands of rows would otherwise decide what its category sounds like. The mean is 1.
    """
    families = Counter((prompt.category, prompt.family) for prompt in prompts)
    boosts = settings.family_boosts
    weights = np.array([boosts.get(p.family, 1.0) * families[p.category, p.family] ** -0.5 for p in prompts])
    labels = np.unique([prompt.category for prompt in prompts], return_inverse=True)[1]
    weights /= np.bincount(labels, weights)[labels]
    return np.asarray(weights * len(weights) / weights.sum())


def out_of_fold(
    prompts: Sequence[Prompt], vectors: NDArray[np.float32], labels: NDArray[np.integer], settings: Settings
) -> OutOfFold:
    """Return logits and similarities of every prompt from a model that saw neither it nor a near-duplicate."""
    splits = StratifiedGroupKFold(settings.num_folds, shuffle=True, random_state=settings.seed)
    categories = np.unique([prompt.category for prompt in prompts])
    logits = np.zeros((len(prompts), len(categories)))
    similarity = np.zeros(len(prompts))
    for fit_rows, held_rows in splits.split(vectors, labels, groups_of([prompt.text for prompt in prompts])):
        model = fit_model([prompts[row] for row in fit_rows], vectors[fit_rows], settings)
        columns = np.searchsorted(categories, model.classes_)
        logits[np.ix_(held_rows, columns)] = model.logits(vectors[held_rows])
        exemplars = whole(vectors[fit_rows[choose_exemplars(labels[fit_rows], settings)]])
        similarity[held_rows] = similarity_to(exemplars, vectors[held_rows])
    return OutOfFold(logits, similarity)


def choose_exemplars(labels: NDArray[np.integer], settings: Settings) -> NDArray[np.intp]:
    """Return the rows of a sample with the same number from every category, in order."""
    rng = np.random.default_rng(settings.seed)
    share = max(1, settings.num_exemplars // len(np.unique(labels)))
    rows = [rng.permutation(np.flatnonzero(labels == label))[:share] for label in np.unique(labels)]
    return np.sort(np.concatenate(rows))


def data_card(prompts: Sequence[Prompt]) -> dict[str, dict[str, object]]:
    """Return source -> rows used and licence."""
    sources = Counter((prompt.source, prompt.license) for prompt in prompts)
    return {source: {"rows": rows, "license": license_} for (source, license_), rows in sorted(sources.items())}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `coe router train`."""
    parser.add_argument("prompts", nargs="*", type=Path, help="files or folders of {prompt or messages, category} rows")
    parser.add_argument("--out", type=Path, help="folder for the trained router; default with --shipped: the package's")
    parser.add_argument("--shipped", action="store_true", help="train on what the shipped router is trained on")
    parser.add_argument("--data", type=Path, help="with --shipped: the folder of public rows; left out: our own only")
    parser.add_argument("--encoder", default="all-MiniLM-L6-v2", help="the default, a local folder, or a hub id")
    parser.add_argument("--device", default="cpu", help="where the encoder runs")
    parser.add_argument("--cache", type=Path, help="folder that keeps embeddings between runs")
    parser.add_argument("--penalty", type=float, help="default: the recipe's")
    parser.add_argument("--abstain-target", type=float, default=DEFAULTS.abstain_target)
    parser.add_argument("--seed", type=int, default=DEFAULTS.seed)


def run(args: argparse.Namespace) -> int:
    """Run `coe router train`; returns the exit code."""
    found = read_training_prompts(args)
    print(found.report())
    recipe = SHIPPED if args.shipped else DEFAULTS
    settings = replace(
        recipe, penalty=args.penalty or recipe.penalty, abstain_target=args.abstain_target, seed=args.seed
    )
    artefact = train(found.prompts, encoder_for(args.encoder, args.device, args.cache), settings)
    folder = args.out or DEFAULT_FOLDER
    artefact.save(folder)
    print(f"out-of-fold accuracy {artefact.metrics['out_of_fold_accuracy']:.3f}")
    print(f"abstains below confidence {artefact.abstain.min_confidence:.3f}")
    print(f"written to {folder}")
    return 0


def read_training_prompts(args: argparse.Namespace) -> PromptSet:
    """Return the rows that the arguments name."""
    if args.shipped:
        from router.shipped import shipped_prompts

        return shipped_prompts(args.data)
    if not args.prompts or args.out is None:
        raise ValueError("nothing to train on: name prompt files and --out FOLDER, or use --shipped")
    sets = [read_prompts(path) for path in args.prompts]
    return PromptSet(sum((s.prompts for s in sets), ()), sum((s.bad_rows for s in sets), ()))


def encoder_for(source: str, device: str, cache: Path | None) -> TrainingEncoder:
    """Return an encoder, behind a folder of vectors where one is given."""
    from router.encoder import Encoder
    from router.vectors import CachedEncoder

    encoder = Encoder(source, device=device)
    return CachedEncoder(encoder, cache) if cache else encoder


def main() -> int:
    """Run as `python -m router.train`."""
    parser = argparse.ArgumentParser(prog="python -m router.train", description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    raise SystemExit(main())
