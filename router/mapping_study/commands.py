"""What a budget buys: the commands `map` and `frontier` on a table of scores.

Owns their arguments, what they print, write and draw. Solving is mapping's, the protocol of half-splits is study's.
Knows nothing about serving.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.encoding.cached_encoder import load_encoder
from router.mapping_study.learned_mapping import Budget, Pool, frontier
from router.mapping_study.one_standard_error import fewest_experts
from router.mapping_study.score_table import Cost, ScoreTable, costs_of, read_scores
from router.provenance import provenance

__all__ = ["add_arguments", "add_map_arguments", "run", "run_map"]

SHARE = 0.98  # of the best single model's score


@dataclass(frozen=True, slots=True)
class Labelled:
    """What a mapping is learned from: a table, its prompts' labels as the router has them, and the experts' costs."""

    table: ScoreTable
    labels: NDArray[np.str_]
    costs: Mapping[str, Cost]
    notes: tuple[str, ...]  # what was left out, and whose labels these are

    @property
    def pool(self) -> Pool:
        return self.table.pool(self.labels, self.costs)


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scores", type=Path, help="JSONL of {prompt, category, scores: {expert: 0 … 1 or null}}")
    parser.add_argument("--costs", type=Path, help="JSON of {expert: {active_b, total_b}}; default: numbers in names")
    parser.add_argument("--max-model-b", type=float, help="only experts of at most so many billion parameters in all")
    parser.add_argument("--expert", action="append", default=[], help="only this expert (repeatable)")
    parser.add_argument("--without", action="append", default=[], help="leave this expert out (repeatable)")
    parser.add_argument("--max-resident-bytes", type=float, help="budget on the bytes of all experts used")
    parser.add_argument("--max-experts", type=int, help="budget on how many experts are used")
    parser.add_argument("--device", default="cpu", help="where the encoder runs")
    parser.add_argument("--cache", type=Path, help="folder that keeps embeddings between runs")
    parser.add_argument("--json", type=Path, help="write the figures here, too")


def add_map_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `coe router map`."""
    add_common_arguments(parser)
    parser.add_argument("--max-mean-active-b", type=float, help="budget on the mean of active parameters, in billions")
    parser.add_argument(
        "--artefact", type=Path, help="a trained router: it labels the prompts, as it will when serving"
    )
    parser.add_argument(
        "--tie", type=float, default=0.0, help="take fewer experts within so many standard errors (1; default 0)"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `coe router frontier`."""
    add_common_arguments(parser)
    parser.add_argument("--study", type=int, nargs="?", const=20, default=0, help="judge by so many half-splits (20)")
    parser.add_argument("--curve", type=int, default=0, help="with --study: held-out scores at so many budgets")
    parser.add_argument("--encoder", default="all-MiniLM-L6-v2")
    parser.add_argument("--plot", type=Path, help="write a PNG of the frontier here")


def affordable(args: argparse.Namespace) -> tuple[ScoreTable, dict[str, Cost], list[str]]:
    """Return each prompt once with the experts whose cost is known and allowed, and notes of what was left out."""
    read = read_scores(args.scores)
    table = read.merged()
    costs = costs_of(table.experts, args.costs)
    unsized = [expert for expert in table.experts if expert not in costs]
    limit = args.max_model_b or float("inf")
    refused = table.only(args.without).experts
    table = table.only([expert for expert in args.expert or table.experts if expert not in refused])
    table = table.only([expert for expert in table.experts if expert in costs and costs[expert].total_b <= limit])
    if not table.experts:
        raise ValueError(f"{args.scores}: no expert of a known size up to {limit:g} billion; give --costs")
    notes = [f"{len(read.prompts)} rows, {len(table.prompts)} distinct prompts", f"pool: {', '.join(table.experts)}"]
    notes += [f"left out, size unknown (--costs): {', '.join(unsized)}"] if unsized else []
    return table, costs, notes


def labelled(args: argparse.Namespace) -> Labelled:
    """Return the table with the labels of the router that the arguments name, else the table's own categories."""
    table, costs, notes = affordable(args)
    if args.artefact is None:
        notes.append("categories and their frequencies: the table's own (--artefact DIR: the router's)")
        return Labelled(table, np.array(table.categories), costs, tuple(notes))
    labels, is_sure = router_labels(args, table.prompts)
    notes.append(
        f"categories and their frequencies: the router's; {(~is_sure).mean():.1%} of prompts abstain, left out"
    )
    sure = np.flatnonzero(is_sure)
    if not len(sure):
        raise ValueError(f"{args.artefact}: the router abstains on every prompt of {args.scores}; map another table")
    return Labelled(table.rows(sure), labels[sure], costs, tuple(notes))


def router_labels(args: argparse.Namespace, prompts: Sequence[str]) -> tuple[NDArray[np.str_], NDArray[np.bool_]]:
    """Return each prompt's category as a trained router has it, and whether the router is sure."""
    from router.model.artefact import load_artefact
    from router.model.scores import score

    artefact = load_artefact(args.artefact)
    encoder = load_encoder(artefact.encoder_source, args.device, args.cache)
    artefact.check_encoder(encoder.id)
    found = score(artefact, encoder.encode(prompts), prompts)
    labels = np.array(artefact.categories)[found.probabilities.argmax(axis=1)]
    return labels, artefact.abstain.is_sure(found.probabilities.max(axis=1), found.similarity)


def run_map(args: argparse.Namespace) -> int:
    """Run `coe router map`; returns the exit code."""
    data = labelled(args)
    budget = Budget(args.max_mean_active_b, args.max_resident_bytes, args.max_experts)
    learned = fewest_experts(data.table, data.labels, data.costs, budget, args.tie)
    expected = data.table.expected_scores(data.labels)
    print_notes(data.notes)
    for category, expert in learned.mapping.items():
        cell = expected[category][expert]
        print(f"{category:24} {expert:36} {cell.score:.3f} [{cell.low:.3f}, {cell.high:.3f}] of {cell.num_prompts}")
    print(
        f"score {learned.score:.4f} on the rows learned from, {learned.mean_active_b:.2f} B active on average, "
        f"{learned.num_experts} experts, {learned.size_bytes / 1e9:.1f} GB"
    )
    pool = data.pool
    return finish(
        {
            **asdict(learned),
            "budget": asdict(budget),
            "tie_standard_errors": args.tie,
            "frequencies": dict(zip(pool.categories, pool.frequencies.tolist(), strict=True)),
            "expected_scores": {category: plain(row) for category, row in expected.items()},
            "active_b": dict(zip(pool.experts, pool.active_b.tolist(), strict=True)),
            "notes": data.notes,
        },
        args.json,
    )


def run(args: argparse.Namespace) -> int:
    """Run `coe router frontier`; returns the exit code."""
    table, costs, notes = affordable(args)
    pool = table.pool(np.array(table.categories), costs)
    budget = Budget(None, args.max_resident_bytes, args.max_experts)
    points = frontier(pool, budget=budget)
    best = float((pool.frequencies @ pool.scores).max())
    print_notes(notes)
    for point in points:
        print(f"{point.mean_active_b:8.2f} B active on average  score {point.score:.4f}  {point.num_experts} experts")
    result: dict[str, Any] = {"points": [asdict(point) for point in points], "best_single": best, "notes": notes}
    if args.study:
        result |= run_study(args, table, costs)
    if args.plot:
        from router.mapping_study.frontier_plot import draw

        draw(pool, points, result, args.plot)
    return finish(result | {"provenance": asdict(provenance())}, args.json)


def run_study(args: argparse.Namespace, table: ScoreTable, costs: Mapping[str, Cost]) -> dict[str, Any]:
    """Run and print the half-splits; rows with a hole are left out, and counted."""
    from tqdm import tqdm

    from router.mapping_study.half_split import Data, check_balance, view_of
    from router.mapping_study.study import cheapest_share, half_splits, held_out_curve
    from router.training.duplicates import groups_of

    complete = table.complete_rows()
    if not len(complete):
        raise ValueError(f"{args.scores}: no prompt has scores of every expert; name fewer with --expert")
    print(f"half-splits of the {len(complete)} prompts that every expert was measured on, of {len(table.prompts)}")
    table = table.rows(complete)
    groups = np.unique(groups_of(table.prompts), return_inverse=True)[1]
    data = Data(table, load_encoder(args.encoder, args.device, args.cache).encode(table.prompts), groups, costs)
    check_balance(data)
    views = [view_of(data, seed) for seed in tqdm(range(args.study), desc="half-splits", disable=None)]
    study = half_splits(data, views)
    result: dict[str, Any] = {"study": plain(study), "encoder": args.encoder, "seeds": list(range(args.study))}
    print(f"category accuracy {study.category_accuracy:.4f}; classifiers chosen: {study.classifiers}")
    for name, method in sorted(study.methods.items(), key=lambda item: item[1].score):
        print(f"{name:32} {method.score:.4f} ± {method.deviation:.4f}  {method.mean_active_b:6.2f} B")
    for name, found in study.differences.items():
        print(f"{name:58} {found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}]  p {found.p:.4f}")
    if args.curve:
        curve = held_out_curve(data, views, args.curve)
        kept = cheapest_share(curve, SHARE * study.methods["best single model"].score)
        result |= {"curve": plain(curve), "keeps_98_percent": plain(kept)}
        for point in curve:
            print(
                f"at most {point.max_mean_active_b:7.2f} B: held out {point.score:.4f} at {point.mean_active_b:.2f} B"
            )
        print(f"98 % of the best single model's held-out score: {plain(kept)}")
    return result


def print_notes(notes: Sequence[str]) -> None:
    for note in notes:
        print(note)


def plain(value: Any) -> Any:
    """Return dataclasses, named tuples and containers of them as JSON has them."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain({name: getattr(value, name) for name in value.__dataclass_fields__})
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def finish(result: Mapping[str, Any], path: Path | None) -> int:
    """Print the figures as the last line, and write them."""
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, ensure_ascii=False))
    return 0
