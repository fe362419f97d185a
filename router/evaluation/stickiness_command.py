"""The command `stickiness`: how many follow-ups stay with their expert, and how many new topics leave it.

Owns the measure. Every category has an expert of its own here, the hardest case. Follow-ups are authored
(`data/follow_ups.txt`: the category of the conversation, `*` for any, and the turn); new topics are labelled prompts of
the user's. Knows nothing about serving.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from coe.types import Snapshot
from router.directory import Directory
from router.model.artefact import load_artefact
from router.policy import RoutingPolicy
from router.router import Router
from router.training.prompts import Prompt, read_prompts
from router.turn import Previous, Turn

__all__ = ["Shares", "add_arguments", "follow_ups", "measure", "run"]

FILE = Path(__file__).parents[1] / "data" / "follow_ups.txt"
STICKINESSES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
GENERAL = "general"


class FollowUp(NamedTuple):
    """A turn, and the category of the conversation that it continues."""

    category: str
    text: str


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares at one stickiness. New topics are prompts that the router sorts rightly when they stand alone."""

    stickiness: float
    follow_ups_stay: float
    new_topics_move: float


def follow_ups(categories: Sequence[str]) -> list[FollowUp]:
    """Return the follow-ups of these categories; one for any category stands once for each."""
    lines = [line.partition(" ") for line in FILE.read_text(encoding="utf-8").splitlines()]
    return [
        FollowUp(category, text)
        for of, _, text in lines
        for category in (categories if of == "*" else (of,))
        if category in categories
    ]


def measure(router: Router, prompts: Sequence[Prompt]) -> list[Shares]:
    """Return the shares for stickiness from 0 to 1. Each new topic comes after a conversation of every other one."""
    asked = follow_ups(router.categories)
    turns = router.turns([follow_up.text for follow_up in asked] + [prompt.text for prompt in prompts])
    topics = [prompt for prompt in prompts if expert_of(router.policy, turns[prompt.text], None) == prompt.category]
    shares = []
    for stickiness in STICKINESSES:
        policy = replace(router.policy, stickiness=stickiness)
        stayed = [expert_of(policy, turns[turn.text], turn.category) == turn.category for turn in asked]
        moved = [
            expert_of(policy, turns[prompt.text], before) == prompt.category
            for prompt in topics
            for before in router.categories
            if before != prompt.category
        ]
        shares.append(Shares(stickiness, float(np.mean(stayed)), float(np.mean(moved)) if moved else float("nan")))
    return shares


def expert_of(policy: RoutingPolicy, turn: Turn, before: str | None) -> str:
    return policy.decide(turn, Snapshot(), None if before is None else Previous(before)).expert


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `coe router stickiness`."""
    parser.add_argument("prompts", type=Path, help="new topics: labelled prompts, JSONL, CSV or Parquet")
    parser.add_argument("--artefact", type=Path, help="a trained router; default: the shipped one")
    parser.add_argument("--device", default="cpu", help="where the encoder runs")
    parser.add_argument("--split", default="test", help="which rows to take (default: test; all: every row)")
    parser.add_argument("--per-category", type=int, default=50, help="so many prompts of each category (default 50)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures here, too")


def chosen(prompts: Sequence[Prompt], args: argparse.Namespace, categories: Sequence[str]) -> list[Prompt]:
    """Return a seeded sample of as many prompts of each category; raises ValueError where there is none."""
    rng = np.random.default_rng(args.seed)
    kept: list[Prompt] = []
    for category in categories:
        rows = [prompt for prompt in prompts if prompt.category == category and args.split in ("all", prompt.split)]
        order = rng.permutation(len(rows))[: args.per_category]
        kept += [rows[index] for index in order]
    if not kept:
        raise ValueError(f"{args.prompts}: no row of split '{args.split}' in a category of the router; try --split all")
    return kept


def run(args: argparse.Namespace) -> int:
    """Run `coe router stickiness`; returns the exit code."""
    artefact = load_artefact(args.artefact)
    experts = {category: category for category in (*artefact.categories, GENERAL)}
    mapping = {category: category for category in artefact.categories}
    router = Router.with_policy(RoutingPolicy(Directory(experts, GENERAL), mapping), artefact, args.device)
    prompts = chosen(read_prompts(args.prompts).prompts, args, router.categories)
    rows = measure(router, prompts)
    print(f"{'stickiness':>10} {'follow-ups stay':>16} {'new topics move':>16}")
    for row in rows:
        print(f"{row.stickiness:10.1f} {row.follow_ups_stay:16.3f} {row.new_topics_move:16.3f}")
    result = {"encoder": artefact.encoder_id, "num_prompts": len(prompts), "seed": args.seed}
    text = json.dumps(result | {"stickiness": [asdict(row) for row in rows]})
    if args.json:
        args.json.write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0
