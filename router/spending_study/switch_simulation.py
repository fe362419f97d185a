"""A simulation of switching: prompts in a row, experts that have to be loaded, and rules that choose between them.

Owns the memory of resident experts (least recently used, whole experts) and the rules that are compared; the price is
the one that serving uses. One link of a constant speed, one prompt at a time. Not covered: batches, loads behind
running steps, units that experts share. Pure. Knows nothing about files or encoders.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from coe.types import Snapshot
from router.mapping import MappingFile
from router.mapping_study.half_split import HalfSplit, StudyData
from router.mapping_study.learned_mapping import Budget, learn_mapping
from router.switch_price import SwitchPrice

__all__ = ["MAPPED", "SINGLE", "Asked", "Memory", "Ran", "Rule", "asked", "learned_file", "order", "rules", "simulate"]

Floats = NDArray[np.floating]
MAPPED, SINGLE = "mapped expert always", "best single model"


class Memory:
    """Resident experts; what does not fit beside a newcomer is evicted, least recently used first."""

    def __init__(self, sizes_bytes: Mapping[str, float], budget_bytes: float, bytes_per_s: float) -> None:
        for expert, size in sizes_bytes.items():
            if size > budget_bytes:
                raise ValueError(
                    f"memory of {budget_bytes:g} bytes: '{expert}' takes {size:g}; give more, or leave it out"
                )
        self._sizes, self._budget, self._bytes_per_s = sizes_bytes, budget_bytes, bytes_per_s
        self._resident: OrderedDict[str, float] = OrderedDict()

    def snapshot(self) -> Snapshot:
        """Return the seconds until each expert would be ready."""
        return Snapshot({expert: self._load_s(expert) for expert in self._sizes})

    def use(self, expert: str) -> float:
        """Make an expert resident; returns the seconds that it took."""
        load_s = self._load_s(expert)
        self._resident[expert] = self._sizes[expert]
        self._resident.move_to_end(expert)
        while sum(self._resident.values()) > self._budget:
            self._resident.popitem(last=False)
        return load_s

    def _load_s(self, expert: str) -> float:
        return 0.0 if expert in self._resident else self._sizes[expert] / self._bytes_per_s


class Asked(NamedTuple):
    """A judged prompt: its row of the table, its category probabilities and the expert that it is mapped to."""

    row: int
    probabilities: Mapping[str, float]
    mapped: str


class Ran(NamedTuple):
    """Who answered each prompt, in the order of asking, and the seconds of loading before: all (prompts,)."""

    rows: NDArray[np.integer]
    columns: NDArray[np.integer]
    load_s: Floats


Rule = Callable[[Asked, Snapshot], str]


def learned_file(data: StudyData, split: HalfSplit, budget: Budget) -> MappingFile:
    """Return what `coe router map` would write for the learning half."""
    half = data.table.rows(split.learn)
    learned = learn_mapping(half.pool(split.learn_labels, data.costs), budget)
    expected = half.expected_scores(split.learn_labels)
    scores = {category: {expert: cell.score for expert, cell in row.items()} for category, row in expected.items()}
    return MappingFile(learned.mapping, scores, {name: data.costs[name].active_b for name in data.table.experts})


def asked(split: HalfSplit, learned: MappingFile) -> list[Asked]:
    """Return the judged prompts; a category that was never learned goes to the most common expert."""
    experts = list(learned.mapping.values())
    fallback = max(experts, key=experts.count)
    categories = split.categories.tolist()
    labels = split.judge_labels.tolist()
    chances = split.judge_probabilities.tolist()
    return [
        Asked(row, dict(zip(categories, each, strict=True)), learned.mapping.get(label, fallback))
        for row, label, each in zip(split.judge.tolist(), labels, chances, strict=True)
    ]


def order(split: HalfSplit, run_length: int, seed: int) -> list[int]:
    """Return places of the judged half in seeded order: runs of `run_length` prompts of one category, shuffled."""
    rng = np.random.default_rng(seed)
    runs: list[list[int]] = []
    for label in np.unique(split.judge_labels):
        places = rng.permutation(np.flatnonzero(split.judge_labels == label)).tolist()
        runs += [places[start : start + run_length] for start in range(0, len(places), run_length)]
    return [place for run in rng.permutation(len(runs)).tolist() for place in runs[run]]


def rules(learned: MappingFile, single: str, prices: tuple[float, ...], epsilons: tuple[float, ...]) -> dict[str, Rule]:
    """Return the rules that are compared: fixed ones, prices, and differences that count as none when not resident."""
    found: dict[str, Rule] = {MAPPED: lambda prompt, _: prompt.mapped, SINGLE: lambda *_: single}
    found |= {f"score_per_second {value:g}": priced(SwitchPrice(value, learned)) for value in prices}
    return found | {f"resident within {value:g}": near_equal(learned, value) for value in epsilons}


def priced(price: SwitchPrice) -> Rule:
    """Return the rule that serving uses."""

    def choose(prompt: Asked, snapshot: Snapshot) -> str:
        cost = price.weigh(prompt.probabilities, prompt.mapped, snapshot)
        return prompt.mapped if cost is None else cost.chosen

    return choose


def near_equal(learned: MappingFile, epsilon: float) -> Rule:
    """Return the former rule: the best resident expert at most `epsilon` below the mapped one on the category."""

    def choose(prompt: Asked, snapshot: Snapshot) -> str:
        category = max(prompt.probabilities, key=lambda name: prompt.probabilities[name])
        scores = learned.expected_scores.get(category, {})
        if snapshot.load_s[prompt.mapped] == 0 or prompt.mapped not in scores:
            return prompt.mapped
        most = learned.active_b[prompt.mapped]
        near = [
            name
            for name, score in scores.items()
            if snapshot.load_s[name] == 0
            and learned.active_b[name] <= most
            and score >= scores[prompt.mapped] - epsilon
        ]
        return max(near, key=lambda name: scores[name], default=prompt.mapped)

    return choose


def simulate(prompts: list[Asked], rule: Rule, memory: Memory, experts: tuple[str, ...]) -> Ran:
    """Return who answers the prompts, one after another, under a rule."""
    columns, seconds = [], []
    for prompt in prompts:
        expert = rule(prompt, memory.snapshot())
        columns.append(experts.index(expert))
        seconds.append(memory.use(expert))
    return Ran(np.array([prompt.row for prompt in prompts]), np.array(columns), np.array(seconds))
