"""The command `train`: its arguments, the rows that they name, its report and the folder that it writes.

Knows nothing about how a model is fitted.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from router.encoding.cached_encoder import load_encoder
from router.encoding.sentence_model import DEFAULT_SOURCE
from router.labelled.balance import report
from router.labelled.descriptions import read_descriptions
from router.labelled.prompts import Prompt, PromptSet, merged, of_split, read_prompts
from router.labelled.shipped import shipped_prompts
from router.labelled.training_record import write_record
from router.model.artefact import DEFAULT_FOLDER
from router.model.versions import read_versions
from router.training.out_of_fold import choose
from router.training.recipe import DEFAULTS, KINDS, SHIPPED, Recipe, candidates_of
from router.training.self_labelling import read_unlabelled
from router.training.train import train
from router.training.training_set import TrainingSet

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `coe router train`."""
    parser.add_argument("prompts", nargs="*", type=Path, help="files or folders of labelled prompts")
    parser.add_argument("--split", help="only rows of this split, for example train; default: every row")
    parser.add_argument("--out", type=Path, help="folder for the trained router; default with --shipped: the package's")
    parser.add_argument("--shipped", action="store_true", help="train on the shipped router's prompts, by its recipe")
    parser.add_argument(
        "--data", type=Path, help="with --shipped: the folder of public rows; left out: the authored prompts alone"
    )
    parser.add_argument("--unlabelled", type=Path, help="file of prompts; neighbours label the sure ones")
    parser.add_argument(
        "--descriptions", type=Path, help="JSON file category -> one sentence; such a category needs no prompts"
    )
    parser.add_argument(
        "--choose", action="store_true", help="compare neighbours and several penalties, with and without TF-IDF"
    )
    parser.add_argument(
        "--encoder",
        default=DEFAULT_SOURCE,
        help="the default, all-MiniLM-L6-v2, wordllama, a local folder, or a hub id",
    )
    parser.add_argument("--device", default="cpu", help="where the encoder runs")
    parser.add_argument("--cache", type=Path, help="folder that keeps embeddings between runs")
    parser.add_argument("--kind", choices=KINDS, help="default: the recipe's")
    parser.add_argument("--penalty", type=float, help="default: the recipe's")
    parser.add_argument("--tf-idf-weight", type=float, help="0: no TF-IDF; default: the recipe's")
    parser.add_argument("--abstain-target", type=float, help="default: the recipe's")
    parser.add_argument("--seed", type=int, help="default: the recipe's")


def run(args: argparse.Namespace) -> int:
    """Run `coe router train`; returns the exit code."""
    folder = args.out or DEFAULT_FOLDER
    if read_versions(folder) is not None:
        raise ValueError(f"--out {folder}: holds versions; add one with `coe router retrain {folder}`")
    found = read_training_prompts(args)
    print(report(found), *split_notes(found.prompts), sep="\n")
    unlabelled = read_unlabelled(args.unlabelled).prompts if args.unlabelled else ()
    encoder = load_encoder(args.encoder, args.device, args.cache)
    recipe = recipe_from(args)
    descriptions = read_descriptions(args.descriptions) if args.descriptions else {}
    if args.choose:
        recipe = print_choice(TrainingSet.of(found.prompts, encoder, descriptions), candidates_of(recipe))
    artefact = train(found.prompts, encoder, recipe, unlabelled, descriptions=descriptions)
    artefact.save(folder)
    if not args.shipped:  # whose rows every version of the package would carry
        texts = [prompt.text for prompt in (*found.prompts, *unlabelled)]
        write_record(folder, texts, asdict(recipe), descriptions)
    warnings = artefact.metrics.get("warnings", ())
    for name, value in artefact.metrics.items():
        if name != "warnings":
            print(f"{name} {value}")
    print(f"abstains below confidence {artefact.abstain.min_confidence:.3f}")
    print(*(f"warning: {warning}" for warning in warnings), f"written to {folder}", sep="\n")
    return 0


def recipe_from(args: argparse.Namespace) -> Recipe:
    """Return the recipe with what the arguments change."""
    names = ("kind", "penalty", "tf_idf_weight", "abstain_target", "seed")
    changes = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    return replace(SHIPPED if args.shipped else DEFAULTS, **changes)


def print_choice(training_set: TrainingSet, candidates: Sequence[Recipe]) -> Recipe:
    """Print the family accuracy of each candidate, and return the best."""
    best, figures = choose(training_set, candidates)
    for recipe, figure in zip(candidates, figures, strict=True):
        print(f"  {recipe.name:40} {figure:.4f}{'  <- chosen' if recipe is best else ''}")
    return best


def read_training_prompts(args: argparse.Namespace) -> PromptSet:
    """Return the rows that the arguments name."""
    if args.shipped:
        return shipped_prompts(args.data)
    if args.out is None or not (args.prompts or args.descriptions):
        raise ValueError("nothing to train on: name prompt files or --descriptions, and --out FOLDER, or use --shipped")
    found = merged(read_prompts(path) for path in args.prompts)
    return PromptSet(of_split(found.prompts, args.split), found.bad_rows)


def split_notes(prompts: Sequence[Prompt]) -> list[str]:
    """Return a warning where rows of several splits are trained on: what they measure later is not held out."""
    sizes = Counter(prompt.split for prompt in prompts)
    if len(sizes) < 2:
        return []
    counts = ", ".join(f"{size} {split}" for split, size in sizes.most_common())
    return [f"trained on the rows of every split ({counts}); --split NAME takes one alone"]
