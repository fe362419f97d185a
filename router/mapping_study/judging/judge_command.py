"""The command `judge`: a mapping file on another score table, by the router's categories or the table's own.

Owns its arguments, what a mapping does with a prompt (a prompt that the router is not sure of, or whose category the
mapping does not name, goes to the general expert), the report and the figures. Knows nothing about serving.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from router.encoding.cached_encoder import load_encoder
from router.encoding.text_encoder import TextEncoder
from router.labelled.bad_rows import lines_about
from router.labelled.duplicates import groups_of
from router.labelled.prompts import merged, read_prompts
from router.mapping import MappingFile, read_mapping_file
from router.mapping_study.candidates import SCORES_HELP
from router.mapping_study.figures import plain, print_figures
from router.mapping_study.judging.judgement import (
    ABSTAINS,
    JudgedTable,
    Judgement,
    best_in,
    columns_by_neighbours,
    judge,
)
from router.mapping_study.router_labels import router_labels
from router.mapping_study.score_table import Cost, ScoreTable, costs_of, read_scores
from router.model.artefact import Artefact, load_artefact

__all__ = ["add_arguments", "run"]

GENERAL, TABLE = "general", "the table"


class Labelled(NamedTuple):
    """The label of each prompt, the categories there are, and where the labels come from."""

    labels: NDArray[np.str_]
    categories: tuple[str, ...]
    whose: str  # "the table" or "the router"
    notes: tuple[str, ...]


class Chosen(NamedTuple):
    """The column of the expert that a mapping gives each prompt, and what there is to say about it."""

    columns: NDArray[np.intp]
    notes: tuple[str, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `coe router judge`."""
    parser.add_argument("mapping", type=Path, help="a file that `coe router map --json` wrote")
    parser.add_argument("scores", type=Path, help=f"the table to judge on: {SCORES_HELP}")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--artefact", type=Path, help="the router that sorts the prompts; default: the shipped one")
    how.add_argument("--true-categories", action="store_true", help="sort the prompts by the table's own categories")
    parser.add_argument("--train", type=Path, nargs="+", default=[], help="the rows that the router was trained on")
    parser.add_argument("--learn", type=Path, help="another score table: adds what its nearest prompts would choose")
    parser.add_argument("--general", help="the expert for prompts without a mapped category; default: the mapping's")
    text = "compare with every expert of the table; default: those that the mapping was chosen from"
    parser.add_argument("--all-experts", action="store_true", help=text)
    parser.add_argument("--expert", action="append", default=[], help="compare with this expert only (repeatable)")
    parser.add_argument("--without", action="append", default=[], help="leave this expert out (repeatable)")
    parser.add_argument("--costs", type=Path, help="JSON of {expert: {active_b, total_b}}; default: numbers in names")
    parser.add_argument("--encoder", help="of --learn's neighbours; default: the router's")
    parser.add_argument("--device", default="cpu", help="where the encoder runs")
    parser.add_argument("--cache", type=Path, help="folder that keeps embeddings between runs")
    parser.add_argument("--json", type=Path, help="write the figures here, too")


def run(args: argparse.Namespace) -> int:
    """Run `coe router judge`; returns the exit code."""
    mapping, read = read_mapping_file(args.mapping), read_scores(args.scores)
    whole = pool_of(read.merged(), mapping, args)
    general = expert_in(whole, args.general, "--general") if args.general else general_of(mapping, whole)
    artefact = load_artefact(args.artefact)
    found = labels_of(whole, artefact, args)
    chosen = columns_of(mapping, whole, found, general)
    complete = whole.complete_rows()
    notes = [
        f"{len(read.prompts)} rows, {len(whole.prompts)} distinct prompts",
        f"compared: {len(whole.experts)} of the table's {len(read.experts)} experts",
        *(lines_about(read.bad_rows) if read.bad_rows else ()),
        *found.notes,
        *chosen.notes,
        *hole_notes(whole, chosen.columns, complete),
    ]
    if not len(complete):
        raise ValueError(f"{args.scores}: no prompt has scores of every expert; name fewer with --expert or --without")
    costs = {name: Cost(active, active) for name, active in mapping.active_b.items()}
    costs |= costs_of(whole.experts, args.costs)
    groups = np.unique(groups_of([whole.prompts[row] for row in complete.tolist()]), return_inverse=True)[1]
    data = JudgedTable(whole.rows(complete), found.labels[complete], groups, costs)
    more, learn_notes = from_learning_table(data, artefact, args) if args.learn else ({}, ())
    judgement = judge(data, chosen.columns[complete], **more)
    print(*notes, *learn_notes, sep="\n")
    print_judgement(judgement)
    figures = plain(judgement) | {"score_where_measured": measured(whole, chosen.columns)}
    print_figures(figures | {"general": general, "notes": [*notes, *learn_notes]}, args.json)
    return 0


def pool_of(table: ScoreTable, mapping: MappingFile, args: argparse.Namespace) -> ScoreTable:
    """Return the columns to compare: those that are named, else those that the mapping was chosen from, else all."""
    chosen_from = {expert.casefold() for expert in (*mapping.active_b, *mapping.mapping.values())}
    known = [expert for expert in table.experts if not mapping.active_b or expert.casefold() in chosen_from]
    pool = args.expert or (table.experts if args.all_experts else known)
    refused = table.only(args.without).experts
    return table.only([expert for expert in pool if expert not in refused])


def expert_in(table: ScoreTable, name: str, where: str) -> str:
    """Return the table's own spelling of an expert; raises ValueError for one that it does not have."""
    known = {expert.casefold(): expert for expert in table.experts}
    if name.casefold() not in known:
        raise ValueError(f"{where}: the table has no scores of expert '{name}'; it has {', '.join(table.experts)}")
    return known[name.casefold()]


def general_of(mapping: MappingFile, table: ScoreTable) -> str:
    """Return the expert of the category `general`, else the one that most categories are mapped to."""
    experts = [expert_in(table, expert, f"category '{name}'") for name, expert in mapping.mapping.items()]
    named = [name.casefold() for name in mapping.mapping]
    return experts[named.index(GENERAL)] if GENERAL in named else max(experts, key=experts.count)


def labels_of(table: ScoreTable, artefact: Artefact, args: argparse.Namespace) -> Labelled:
    """Return the label of each prompt: the table's own, or the router's, "" where it abstains."""
    if args.true_categories:
        labels = np.array(table.categories)
        return Labelled(labels, tuple(sorted(set(table.categories))), TABLE, (f"categories: {TABLE}'s own",))
    trained_on = merged(read_prompts(path) for path in args.train).prompts
    found = router_labels(artefact, encoder_of(artefact, args), table.prompts, trained_on)
    note = f"categories: the router's; {(~found.is_sure).mean():.1%} of prompts abstain"
    labels = np.where(found.is_sure, found.labels, ABSTAINS)
    return Labelled(labels, artefact.categories, "the router", (*found.notes, note))


def encoder_of(artefact: Artefact, args: argparse.Namespace) -> TextEncoder:
    encoder = load_encoder(artefact.encoder_source, args.device, args.cache)
    artefact.check_encoder(encoder.id)
    return encoder


def columns_of(mapping: MappingFile, table: ScoreTable, found: Labelled, general: str) -> Chosen:
    """Return the expert of each prompt; raises ValueError for a category that the router does not have."""
    known = {category.casefold() for category in found.categories}
    experts = {name.casefold(): expert_in(table, ex, f"category '{name}'") for name, ex in mapping.mapping.items()}
    strange = [name for name in mapping.mapping if name.casefold() not in known]
    if strange and (found.whose != TABLE or len(strange) == len(mapping.mapping)):
        raise ValueError(
            f"{mapping.where}: {found.whose} has no category '{strange[0]}'; it has {', '.join(found.categories)}; "
            f"judge by those that the mapping was learned with (--artefact DIR or --true-categories)"
        )
    columns = [table.experts.index(experts.get(label.casefold(), general)) for label in found.labels.tolist()]
    unmapped = sum(label.casefold() not in experts for label in found.labels.tolist())
    notes = [f"{unmapped} of {len(columns)} prompts abstain or have no mapped category: they go to {general}"]
    if strange:
        notes.append(f"categories of the mapping without a prompt here: {', '.join(strange)}")
    return Chosen(np.array(columns), tuple(notes))


def hole_notes(table: ScoreTable, columns: NDArray[np.intp], complete: NDArray[np.intp]) -> list[str]:
    """Count the prompts that are left out for a hole."""
    num_left_out = len(table.prompts) - len(complete)
    if not num_left_out:
        return ["no holes"]
    own = int(np.isnan(table.values[np.arange(len(columns)), columns]).sum())
    by_expert = np.isnan(table.values).sum(axis=0)
    most = ", ".join(
        f"{table.experts[at]} {by_expert[at]}" for at in np.argsort(-by_expert)[:3].tolist() if by_expert[at]
    )
    return [
        f"holes: {num_left_out} prompts lack a score of some expert and are left out ({most}); {own} lack one of the "
        f"mapping's own expert"
    ]


def measured(table: ScoreTable, columns: NDArray[np.intp]) -> dict[str, Any]:
    """Return the mapping's mean over all prompts on which its own expert was measured."""
    scores = table.values[np.arange(len(columns)), columns]
    known = scores[~np.isnan(scores)]
    return {"score": float(known.mean()) if len(known) else None, "num_prompts": len(known)}


def from_learning_table(
    data: JudgedTable, artefact: Artefact, args: argparse.Namespace
) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Return what a learning table adds to the judgement; prompts near one that is judged are left out of it."""
    learn = read_scores(args.learn).merged()
    groups = groups_of([*data.table.prompts, *learn.prompts])
    judged = set(groups[: len(data.table.prompts)])
    kept = np.array([row for row, group in enumerate(groups[len(data.table.prompts) :]) if group not in judged], int)
    num_left_out = len(learn.prompts) - len(kept)
    if not len(kept):
        raise ValueError(f"{args.learn}: every prompt of it is a near-duplicate of one that is judged; name another")
    learn = learn.rows(kept)
    encoder = load_encoder(args.encoder, args.device, args.cache) if args.encoder else encoder_of(artefact, args)
    straight = columns_by_neighbours(data, encoder.encode(data.table.prompts), learn, encoder.encode(learn.prompts))
    note = f"learning table: {len(kept)} prompts; {num_left_out} near-duplicates of judged prompts left out"
    return {"straight": straight, "learned_single": best_in(learn, data.table.experts)}, (note,)


def print_judgement(judgement: Judgement) -> None:
    """Print methods by rising score, the mapping's differences, and each category."""
    print(f"{judgement.num_prompts} prompts judged")
    for name, method in sorted(judgement.methods.items(), key=lambda item: item[1].score):
        active = "-" if method.mean_active_b is None else f"{method.mean_active_b:.2f} B"
        print(f"{name:42} {method.score:.4f}  {active:>9}  {method.expert or f'{method.num_experts} experts'}")
    for name, found in judgement.differences.items():
        print(f"{name:58} {found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}]  p {found.p:.4f}")
    for name, row in judgement.categories.items():
        interval = f"{row.score:.3f} [{row.low:.3f}, {row.high:.3f}] of {row.num_prompts}"
        best = "the best" if row.best_expert == row.expert else f"best {row.best_expert} {row.best_score:.3f}"
        print(f"{name:24} {row.expert:36} {interval}; {best}")
