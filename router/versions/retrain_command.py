"""The command `retrain`: a candidate from rows and feedback, the gate, and where the candidate goes.

Owns its arguments and the order of work. Knows nothing about how a model is fitted or what the gate's rule is.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from router.encoding.cached_encoder import load_encoder
from router.encoding.text_encoder import TextEncoder
from router.labelled.balance import report
from router.labelled.descriptions import read_descriptions
from router.labelled.feedback import read_feedback
from router.labelled.prompts import Prompt, PromptSet, merged, of_split, read_prompts
from router.labelled.training_record import TrainingRecord, read_record, write_record
from router.model.artefact import Artefact, read_artefact
from router.model.versions import Versions, VersionsError, version_folder
from router.training.own.described import GENERAL
from router.training.recipe import DEFAULTS, Recipe
from router.versions.changes import in_shadow, served_now
from router.versions.folder import add_version, change, open_versions
from router.versions.gate import CATEGORY_LOSS, MARGIN, MIN_DISTINCT, GateReport, gate
from router.versions.held_out import Served, Training, held_out
from router.versions.remembered import RememberedEncoder

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `coe router retrain`."""
    parser.add_argument("folder", type=Path, help="a trained router, or a folder of its versions")
    parser.add_argument("prompts", nargs="*", type=Path, help="files or folders of labelled prompts, all to train on")
    parser.add_argument("--split", help="only rows of this split, for example train; default: every row")
    parser.add_argument("--decisions", nargs="+", type=Path, default=[], help="JSONL files of decisions")
    parser.add_argument("--feedback", nargs="+", type=Path, default=[], help="JSONL files of feedback on them")
    parser.add_argument(
        "--descriptions", type=Path, help="JSON file category -> one sentence; default: the served version's"
    )
    parser.add_argument(
        "--drop", nargs="+", default=[], metavar="CATEGORY", help="categories of the served version to do without"
    )
    parser.add_argument("--encoder", help="default: the served version's; a shadow must have the same one")
    parser.add_argument("--device", default="cpu", help="where the encoder runs")
    parser.add_argument("--cache", type=Path, help="folder that keeps embeddings between runs")
    parser.add_argument(
        "--margin", type=float, default=MARGIN, help=f"accuracy that may be lost, 95%% interval; default {MARGIN:g}"
    )
    parser.add_argument("--serve", action="store_true", help="serve it if it passes; default: it goes into shadow")
    text = f"pass with fewer than {MIN_DISTINCT} distinct held-out rows, whatever they say"
    parser.add_argument("--force", action="store_true", help=text)


def run(args: argparse.Namespace) -> int:
    """Run `coe router retrain`; returns the exit code: 1 for a candidate that does not pass."""
    check(args)
    versions = open_versions(args.folder)
    prompts = read_rows(args)
    served = read_served(version_folder(args.folder, versions.served), args)
    candidate = training_of(args, served)
    check_categories(prompts, served.artefact, candidate, args.drop)
    found = held_out(prompts, served, candidate)
    truth = np.array([prompts[row].category for row in found.rows.tolist()], np.str_)
    verdict = gate(truth, found.groups, found.old, found.new, margin=args.margin, force=args.force, notes=found.notes)
    artefact = candidate.on(prompts)
    written = report_of(verdict, versions.served, len(prompts))
    number = add_version(args.folder, partial(write, artefact, prompts, candidate), written)
    print(f"version {number} against {versions.served}, which is served\n{verdict}")
    if not verdict.passes:
        print(f"version {number} is kept and not served")
        return 1
    how = served_now if args.serve else in_shadow
    print(told(number, change(args.folder, lambda state: how(state, number)), versions))
    return 0


def check(args: argparse.Namespace) -> None:
    """Raises ValueError for arguments that do not go together."""
    if bool(args.decisions) != bool(args.feedback):
        raise ValueError("--decisions and --feedback go together: feedback names decisions by their id")
    if not (args.prompts or args.feedback):
        raise ValueError("nothing to train on: name files of labelled prompts, or --decisions and --feedback")
    if not 0.0 <= args.margin <= 1.0:
        raise ValueError(f"--margin {args.margin:g}: must lie in 0 to 1")


def read_rows(args: argparse.Namespace) -> tuple[Prompt, ...]:
    """Return the labelled rows and those of feedback, and say what they are; of equal prompts feedback is right."""
    found = merged(read_prompts(path) for path in args.prompts)
    rows = of_split(found.prompts, args.split) if found.prompts else ()
    by_feedback: tuple[Prompt, ...] = ()
    if args.feedback:
        feedback = read_feedback(args.decisions, args.feedback)
        by_feedback = feedback.prompts
        print(feedback)
    labels = {prompt.text: prompt.category for prompt in by_feedback}
    kept = tuple(row for row in rows if labels.get(row.text, row.category) == row.category)
    if len(kept) < len(rows):
        print(f"{len(rows) - len(kept)} labelled rows left out: feedback says another category of the same prompt")
    if not kept and not by_feedback:
        raise ValueError("no row to train on: no decision has feedback that makes a label; name labelled prompts, too")
    print(report(PromptSet((*kept, *by_feedback), found.bad_rows)))
    return (*kept, *by_feedback)


def read_served(folder: Path, args: argparse.Namespace) -> Served:
    """Return the served router, and how it was trained where that is recorded."""
    artefact, record = read_artefact(folder), read_record(folder)
    encoder = RememberedEncoder(load_encoder(artefact.encoder_source, args.device, args.cache))
    artefact.check_encoder(encoder.id)
    if record is None:
        return Served(artefact, encoder)
    training = Training(encoder, recipe_in(record, folder), dict(record.descriptions), artefact.follow_up)
    return Served(artefact, encoder, record, training)


def recipe_in(record: TrainingRecord, folder: Path) -> Recipe:
    """Return a record's recipe; raises VersionsError for one that this version does not know."""
    fields = {name: value for name, value in record.recipe.items() if name != "family_boosts"}
    boosts = tuple((str(family), float(boost)) for family, boost in record.recipe.get("family_boosts", ()))
    try:
        return Recipe(**fields, family_boosts=boosts)
    except (TypeError, ValueError) as error:
        raise VersionsError(
            f"{folder}: its record has a recipe that cannot be used ({error}); train it again"
        ) from error


def training_of(args: argparse.Namespace, served: Served) -> Training:
    """Return how the candidate is trained: as the served one was, but for what the arguments change."""
    descriptions = dict(read_descriptions(args.descriptions)) if args.descriptions else {}
    recipe = DEFAULTS
    if served.training is not None:
        descriptions, recipe = descriptions or served.training.descriptions, served.training.recipe
    if args.encoder is None:
        return Training(served.encoder, recipe, descriptions, served.artefact.follow_up)
    encoder: TextEncoder = RememberedEncoder(load_encoder(args.encoder, args.device, args.cache))
    if encoder.id == served.encoder.id:
        return Training(served.encoder, recipe, descriptions, served.artefact.follow_up)
    if not args.serve:
        raise ValueError(
            f"--encoder {args.encoder}: the served version's is '{served.artefact.encoder_source}', and a shadow reads "
            "the same vectors; leave --encoder out, or add --serve"
        )
    return Training(encoder, recipe, descriptions)


def check_categories(prompts: Sequence[Prompt], served: Artefact, candidate: Training, dropped: Sequence[str]) -> None:
    """Raises ValueError where the candidate would lack a category: the gate judges none that has no rows."""
    known = {prompt.category for prompt in prompts} | set(candidate.descriptions)
    known |= {GENERAL} if candidate.recipe.kind == "described" else set()
    lacking = [category for category in served.categories if category not in known and category not in dropped]
    if lacking:
        raise ValueError(
            f"the served version has categories without a row or a description here: {', '.join(lacking)}; name their "
            f"rows, too, or do without them: --drop {' '.join(lacking)}"
        )


def write(artefact: Artefact, prompts: Sequence[Prompt], training: Training, folder: Path) -> None:
    """Write the candidate and the record of its training."""
    artefact.save(folder)
    write_record(folder, [prompt.text for prompt in prompts], asdict(training.recipe), training.descriptions)


def report_of(verdict: GateReport, against: str, num_rows: int) -> dict[str, object]:
    """Return what the version's report says of its gate."""
    figures = asdict(verdict)
    for each in ([figures["overall"]] if figures["overall"] else []) + list(figures["categories"]):
        each["difference"] = each["difference"]._asdict()
    rule = {"min_distinct": MIN_DISTINCT, "category_loss": CATEGORY_LOSS}
    return {"against": against, "num_rows": num_rows, "passes": verdict.passes, **figures, **rule}


def told(number: str, now: Versions, earlier: Versions) -> str:
    """Say where a candidate that passed has gone."""
    if now.served == number:
        return f"version {number} is served from the next start on; `coe router rollback` goes back to {now.before[-1]}"
    replaced = f", in the place of {earlier.shadow}" if earlier.shadow else ""
    return f"version {number} is in shadow{replaced}; `coe router promote` serves it"
