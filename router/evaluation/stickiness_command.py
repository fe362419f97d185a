"""The command `stickiness`: how many follow-ups stay with their expert, and how many new topics leave it.

Owns the measure. Every category has an expert of its own here, the hardest case. The conversations of two turns are
rows of {first, second, stays} or, by default, authored ones of seven languages that nothing is trained on
(`data/held_out_turns.txt`). Knows nothing about serving.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from coe.types import Message, RouteQuery
from router.directory import Directory
from router.labelled.bad_rows import BadRow, lines_about, nothing_left
from router.labelled.conversations import TwoTurns, held_out_turns
from router.labelled.rows import read_rows
from router.model.artefact import load_artefact
from router.policy import RoutingPolicy
from router.router import Router
from router.stickiness import DEFAULT_STICKINESS

__all__ = ["Shares", "add_arguments", "measure", "read_turns", "run"]

STICKINESSES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
GENERAL = "general"


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares at one stickiness; `right` is the mean of the first two."""

    stickiness: float
    follow_ups_stay: float
    new_topics_move: float

    @property
    def right(self) -> float:
        return (self.follow_ups_stay + self.new_topics_move) / 2


class Conversations(NamedTuple):
    """The good rows, and the bad ones by name."""

    turns: list[TwoTurns]
    bad_rows: list[BadRow]


def read_turns(path: Path) -> Conversations:
    """Read rows of {first, second, stays}.

    Raises:
        ValueError: a table without the columns, or no row with two texts and a truth value.
    """
    turns, bad_rows = [], []
    for where, row in read_rows(path, [("first",), ("second",), ("stays",)]):
        try:
            turns.append(two_turns_of(row))
        except ValueError as error:
            bad_rows.append(BadRow(where, str(error)))
    if not turns:
        raise nothing_left(path, bad_rows)
    return Conversations(turns, bad_rows)


def two_turns_of(row: object) -> TwoTurns:
    if isinstance(row, ValueError):
        raise row
    fields = row if isinstance(row, dict) else {}
    first, second, stays = (fields.get(name) for name in ("first", "second", "stays"))
    if isinstance(stays, str):  # CSV has texts only
        stays = {"true": True, "false": False}.get(stays.strip().lower())
    if not isinstance(first, str) or not isinstance(second, str) or not isinstance(stays, bool):
        raise ValueError("needed are texts in 'first' and 'second' and true or false in 'stays'")
    return TwoTurns(first, second, stays, str(fields.get("language") or ""))


def measure(router: Router, conversations: Sequence[TwoTurns], stickiness: float) -> list[bool]:
    """Return for each conversation whether its second turn stays or leaves rightly."""
    router.policy = replace(router.policy, stickiness=stickiness)
    before = [decision.expert for decision in router.route([asked(each.first) for each in conversations])]
    after = [decision.expert for decision in router.route([asked(each.first, each.second) for each in conversations])]
    return [(one == other) == each.stays for one, other, each in zip(before, after, conversations, strict=True)]


def asked(first: str, second: str | None = None) -> RouteQuery:
    """Return a query of the first turn, or of the second after an answer; neither is remembered."""
    turns = [Message("user", first)]
    if second is not None:
        turns += [Message("assistant", "…"), Message("user", second)]
    return RouteQuery(tuple(turns), only_explains=True)


def shares(conversations: Sequence[TwoTurns], is_right: Sequence[bool], stickiness: float) -> Shares:
    """Return the share of follow-ups that stay and of new topics that move."""
    stay, move = (
        [right for each, right in zip(conversations, is_right, strict=True) if each.stays == stays]
        for stays in (True, False)
    )
    return Shares(stickiness, *(float(np.mean(rows)) if rows else float("nan") for rows in (stay, move)))


def by_language(conversations: Sequence[TwoTurns], is_right: Sequence[bool]) -> dict[str, float]:
    """Return the share of each language's conversations that go on rightly."""
    languages = np.array([each.language for each in conversations])
    right = np.array(is_right)
    return {language: float(right[languages == language].mean()) for language in sorted(set(languages.tolist()))}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `coe router stickiness`."""
    parser.add_argument(
        "turns", type=Path, nargs="?", help="rows {first, second, stays}; default: authored ones, held out"
    )
    parser.add_argument("--artefact", type=Path, help="a trained router; default: the shipped one")
    parser.add_argument("--device", default="cpu", help="where the encoder runs")
    parser.add_argument("--json", type=Path, help="write the figures here, too")


def run(args: argparse.Namespace) -> int:
    """Run `coe router stickiness`; returns the exit code."""
    conversations, bad_rows = read_turns(args.turns) if args.turns else (held_out_turns(), [])
    artefact = load_artefact(args.artefact)
    experts = {category: category for category in (*artefact.categories, GENERAL)}
    mapping = {category: category for category in artefact.categories}
    router = Router.with_policy(RoutingPolicy(Directory(experts, GENERAL), mapping), artefact, args.device)
    bar = tqdm(STICKINESSES, desc="stickiness", file=sys.stderr, disable=None)
    outcomes = {stickiness: measure(router, conversations, stickiness) for stickiness in bar}
    rows = [shares(conversations, is_right, stickiness) for stickiness, is_right in outcomes.items()]
    print(*(lines_about(bad_rows) if bad_rows else ()), sep="\n", end="\n" if bad_rows else "")
    print(f"{'stickiness':>10} {'follow-ups stay':>16} {'new topics move':>16} {'right':>8}")
    for row in rows:
        print(f"{row.stickiness:10.1f} {row.follow_ups_stay:16.3f} {row.new_topics_move:16.3f} {row.right:8.3f}")
    languages = by_language(conversations, outcomes[DEFAULT_STICKINESS])
    result = {"encoder": artefact.encoder_id, "num_conversations": len(conversations), "by_language": languages}
    text = json.dumps(result | {"stickiness": [asdict(row) for row in rows]})
    if args.json:
        args.json.write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0
