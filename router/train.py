"""Prompts to an artefact: encode, choose by cross-validation, fit, calibrate, set the abstain rule, keep exemplars.

Owns the recipe and its settings; every choice is made on out-of-fold values of the training rows, never on test rows.
Knows nothing about where prompts come from. `python -m router.train` rebuilds the shipped router.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from router.abstain import AbstainRule, fit_abstain
from router.artefact import DEFAULT_FOLDER, Artefact, Exemplar
from router.classifier import CategoryClassifier, CategoryNeighbours, fit_temperature, softmax_regression
from router.heads import Head
from router.model import Model
from router.prompts import Prompt, PromptSet, groups_of, read_prompts
from router.scores import similarity_to
from router.self_labelling import FAMILY as SELF_LABELLED
from router.self_labelling import read_unlabelled, self_labelled
from router.table import Table, TrainingEncoder
from router.words import WordModel, tf_idf

__all__ = ["Settings", "add_arguments", "candidates_of", "choose", "fit_model", "run", "train"]

MIN_PER_CATEGORY = 5
MIN_PROMPTS_PER_TERM = 3
MAX_TERMS = 20_000


@dataclass(frozen=True, slots=True)
class Settings:
    """The recipe.

    `kind` is "linear" (softmax regression) or "neighbours". `penalty` is the L2 penalty against the mean loss
    (scikit-learn's C is 1 / (penalty * n)), `words_penalty` that of the words' model, which is added at `words_weight`
    (0: no words). `abstain_target` is the share of in-domain prompts that may abstain, of families held out where there
    are several. `family_boosts` weighs families against the others of their category.
    """

    kind: str = "linear"
    penalty: float = 1e-3
    words_weight: float = 1.0
    words_penalty: float = 1e-4
    num_neighbours: int = 15
    abstain_target: float = 0.05
    num_exemplars: int = 3000
    num_folds: int = 5
    seed: int = 0
    family_boosts: tuple[tuple[str, float], ...] = ()

    @property
    def name(self) -> str:
        """What a table of recipes calls this one."""
        of_vectors = (
            f"linear, penalty {self.penalty:g}" if self.kind == "linear" else f"{self.num_neighbours} neighbours"
        )
        return f"{of_vectors}, words at {self.words_weight:g}" if self.words_weight else of_vectors

    def __post_init__(self) -> None:
        if self.kind not in ("linear", "neighbours"):
            raise ValueError(f"kind '{self.kind}': a classifier is linear or neighbours")


DEFAULTS = Settings()
SHIPPED = Settings(abstain_target=0.08, family_boosts=(("coe own", 3.0), ("coe written", 3.0)))


class OutOfFold(NamedTuple):
    """What the classifier said about rows it was not fitted on."""

    rows: NDArray[np.intp]
    logits: NDArray[np.floating]  # (rows, categories)
    similarity: NDArray[np.floating]  # (rows,)

    def without(self, left_out: NDArray[np.bool_]) -> OutOfFold:
        """Return what was said about the rows of the table that are not left out."""
        kept = ~left_out[self.rows]
        return OutOfFold(self.rows[kept], self.logits[kept], self.similarity[kept])


def train(
    prompts: Sequence[Prompt],
    encoder: TrainingEncoder,
    settings: Settings = DEFAULTS,
    unlabelled: Sequence[Prompt] = (),
) -> Artefact:
    """Return the artefact of these prompts, and of those unlabelled ones whose neighbours agree on a category.

    Raises:
        ValueError: fewer than two categories, or one with fewer than five prompts.
    """
    check_balance(prompts)
    table = Table.of([*prompts, *self_labelled(prompts, unlabelled, encoder)], encoder)
    known, foreign = held_out_rows(table, settings), held_out_families(table, settings)
    temperature, rule = calibrate(table, known, foreign, settings)
    chosen = choose_exemplars(table.labels, settings)
    return Artefact(
        encoder_source=encoder.source,
        encoder_id=encoder.id,
        categories=table.categories,
        temperature=temperature,
        abstain=rule,
        model=fit_model(table, settings),
        exemplars=whole(table.vectors[chosen]),
        exemplar_rows=tuple(Exemplar(p.id, p.source, p.category) for p in (table.prompts[i] for i in chosen)),
        data=data_card(table.prompts),
        metrics={
            "out_of_fold_accuracy": round(accuracy(table, known), 4),
            "held_out_family_accuracy": round(family_accuracy(table, foreign), 4),
        },
    )


def calibrate(table: Table, known: OutOfFold, foreign: OutOfFold, settings: Settings) -> tuple[float, AbstainRule]:
    """Return the temperature that rows of known sources call for, and the rule that rows of unknown ones do."""
    temperature = fit_temperature(known.logits, table.labels[known.rows])
    confidence = softmax(foreign.logits / temperature, axis=1).max(axis=1)
    return temperature, fit_abstain(confidence, foreign.similarity, settings.abstain_target)


def fit_model(table: Table, settings: Settings) -> Model:
    """Return the model of these rows; a category without rows here is all but ruled out."""
    weights = family_weights(table, settings)
    head = fit_head(table, weights, settings)
    if not settings.words_weight:
        return Model(head)
    return Model(head, fit_words(table, weights, settings), settings.words_weight)


def fit_words(table: Table, weights: NDArray[np.float64], settings: Settings) -> WordModel:
    """Return a softmax regression over TF-IDF of the terms that enough of the rows have."""
    counts, num_prompts = table.words, len(table.labels)
    document_frequency = np.bincount(counts.matrix.indices, minlength=len(counts.terms))
    most_common = np.argsort(-document_frequency, kind="stable")[:MAX_TERMS]
    chosen = np.sort(most_common[document_frequency[most_common] >= MIN_PROMPTS_PER_TERM])
    idf = np.log((1 + num_prompts) / (1 + document_frequency[chosen])) + 1
    rows = tf_idf(counts.matrix[:, chosen], idf)
    regression = LogisticRegression(C=1.0 / (settings.words_penalty * num_prompts), max_iter=100, tol=1e-3)
    head = softmax_regression(regression, rows, table.labels, weights)
    return WordModel(counts.terms[chosen], idf, head.renumbered(np.unique(table.labels), len(table.categories)))


def fit_head(table: Table, weights: NDArray[np.float64], settings: Settings) -> Head:
    """Return the fitted head over the table's vectors."""
    num_categories = len(table.categories)
    if settings.kind == "neighbours":
        votes = CategoryNeighbours(num_neighbours=settings.num_neighbours).fit(table.vectors, table.labels, weights)
        return votes.head_.renumbered(votes.classes_, num_categories)
    linear = CategoryClassifier(C=1.0 / (settings.penalty * len(table.labels)), class_weight=None)
    linear.fit(table.vectors, table.labels, weights)
    return linear.head_.renumbered(linear.classes_, num_categories)


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


def family_weights(table: Table, settings: Settings) -> NDArray[np.float64]:
    """Return (rows,) weights: categories count alike, and in one a family by its square root times its boost.

    A benchmark with thousands of rows would otherwise decide what its category sounds like. The mean is 1.
    """
    _, kind_of, sizes = np.unique(
        np.char.add(table.families, np.char.add("|", table.labels.astype(str))), return_inverse=True, return_counts=True
    )
    boost_of = dict(settings.family_boosts)
    boosts = np.array([boost_of.get(family, 1.0) for family in table.families.tolist()])
    weights = boosts * sizes[kind_of] ** -0.5
    weights /= np.bincount(table.labels, weights)[table.labels]
    return np.asarray(weights * len(weights) / weights.sum())


def out_of_fold(table: Table, settings: Settings, groups: NDArray[np.str_], judged: NDArray[np.bool_]) -> OutOfFold:
    """Return logits and similarities of the judged rows, from models that saw none of their group."""
    num_folds = min(settings.num_folds, len(np.unique(groups)))
    splits = StratifiedGroupKFold(num_folds, shuffle=True, random_state=settings.seed)
    logits = np.zeros((len(table.labels), len(table.categories)))
    similarity = np.zeros(len(table.labels))
    for fit_rows, held_rows in splits.split(table.vectors, table.labels, groups):
        fitted_on = table.take(fit_rows)
        model = fit_model(fitted_on, settings)
        logits[held_rows] = model.logits_of(table.vectors[held_rows], table.words.take(held_rows))
        similarity[held_rows] = similarity_to(exemplars_of(fitted_on, settings), table.vectors[held_rows])
    rows = np.flatnonzero(judged)
    return OutOfFold(rows, logits[rows], similarity[rows])


def held_out_families(table: Table, settings: Settings) -> OutOfFold:
    """Return what is said about sources nobody has seen; where there are too few families, about all rows."""
    foreign = table.is_foreign
    return out_of_fold(table, settings, table.sources, foreign if foreign.any() else is_labelled(table))


def held_out_rows(table: Table, settings: Settings) -> OutOfFold:
    """Return what is said about all rows, by models that saw none of their near-duplicates."""
    return out_of_fold(table, settings, table.groups, is_labelled(table))


def is_labelled(table: Table) -> NDArray[np.bool_]:
    """(rows,) True where a person labelled the row."""
    labelled: NDArray[np.bool_] = table.families != SELF_LABELLED
    return labelled


def accuracy(table: Table, said: OutOfFold) -> float:
    """Return the share of rows whose category is right."""
    return float((said.logits.argmax(1) == table.labels[said.rows]).mean())


def family_accuracy(table: Table, said: OutOfFold) -> float:
    """Return the mean over categories of the mean over their families of the share that is right."""
    is_right = said.logits.argmax(1) == table.labels[said.rows]
    by_family: dict[int, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for row, right in zip(said.rows.tolist(), is_right.tolist(), strict=True):
        by_family[int(table.labels[row])][str(table.families[row])].append(right)
    return float(np.mean([np.mean([np.mean(rows) for rows in families.values()]) for families in by_family.values()]))


def choose(table: Table, candidates: Sequence[Settings]) -> tuple[Settings, list[float]]:
    """Return the settings under which families held out are sorted best, and every candidate's figure."""
    figures = [family_accuracy(table, held_out_families(table, settings)) for settings in candidates]
    return candidates[int(np.argmax(figures))], figures


def candidates_of(settings: Settings) -> list[Settings]:
    """Return what `--choose` compares: neighbours, and softmax regressions of several penalties, with words or not."""
    neighbours = [replace(settings, kind="neighbours", words_weight=weight) for weight in (0.0, 1.0)]
    linear = [
        replace(settings, kind="linear", penalty=penalty, words_weight=weight)
        for penalty in (1e-3, 3e-3)
        for weight in (0.0, 0.5, 1.0)
    ]
    return neighbours + linear


def exemplars_of(table: Table, settings: Settings) -> NDArray[np.float32]:
    """Return the (exemplars, hidden) vectors that similarity is measured to."""
    return whole(table.vectors[choose_exemplars(table.labels, settings)])


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
    parser.add_argument("--unlabelled", type=Path, help="file of {prompt} rows; neighbours label the sure ones")
    parser.add_argument("--choose", action="store_true", help="try neighbours and several penalties, with words or not")
    parser.add_argument("--encoder", default="all-MiniLM-L6-v2", help="the default, a local folder, or a hub id")
    parser.add_argument("--device", default="cpu", help="where the encoder runs")
    parser.add_argument("--cache", type=Path, help="folder that keeps embeddings between runs")
    parser.add_argument("--kind", choices=("linear", "neighbours"), help="default: the recipe's")
    parser.add_argument("--penalty", type=float, help="default: the recipe's")
    parser.add_argument("--words-weight", type=float, help="0: no words; default: the recipe's")
    parser.add_argument("--abstain-target", type=float, help="default: the recipe's")
    parser.add_argument("--seed", type=int, help="default: the recipe's")


def run(args: argparse.Namespace) -> int:
    """Run `coe router train`; returns the exit code."""
    found = read_training_prompts(args)
    print(found.report())
    unlabelled = read_unlabelled(args.unlabelled).prompts if args.unlabelled else ()
    encoder = encoder_for(args.encoder, args.device, args.cache)
    settings = settings_of(args)
    if args.choose:
        settings = print_choice(Table.of(found.prompts, encoder), candidates_of(settings))
    artefact = train(found.prompts, encoder, settings, unlabelled)
    folder = args.out or DEFAULT_FOLDER
    artefact.save(folder)
    for name, value in artefact.metrics.items():
        print(f"{name} {value}")
    print(f"abstains below confidence {artefact.abstain.min_confidence:.3f}")
    print(f"written to {folder}")
    return 0


def settings_of(args: argparse.Namespace) -> Settings:
    """Return the recipe with what the arguments change."""
    names = ("kind", "penalty", "words_weight", "abstain_target", "seed")
    changes = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    return replace(SHIPPED if args.shipped else DEFAULTS, **changes)


def print_choice(table: Table, candidates: Sequence[Settings]) -> Settings:
    """Print what each candidate reaches on families held out, and return the best."""
    best, figures = choose(table, candidates)
    for settings, figure in zip(candidates, figures, strict=True):
        print(f"  {settings.name:40} {figure:.4f}{'  <- chosen' if settings is best else ''}")
    return best


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
