"""What memory may change in a decision: among near-equals, the expert that is resident.

Owns the expected scores (category, expert) as `coe router map` writes them, their checks, and the choice. The mapped
expert is what near-equals are measured against: a mapping learned under a budget need not name the best expert, and no
expert with more active parameters than the mapped one is ever preferred, so the budget on them holds whatever is
resident. Pure but for `read_expected`; knows nothing about prompts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from coe.types import CostTerm, Snapshot
from router.directory import Directory

__all__ = ["Expected", "Residency", "read_expected"]

ROUNDING = 1e-9  # 0.80 - 0.02 is not quite 0.78


@dataclass(frozen=True, slots=True)
class Expected:
    """What `coe router map` learned: category -> expert, expected scores, and billions of active parameters."""

    mapping: Mapping[str, str] = field(default_factory=dict)
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    active_b: Mapping[str, float] = field(default_factory=dict)
    where: str = "expected scores"  # the file, in complaints

    def checked(self, categories: Sequence[str], directory: Directory) -> Expected:
        """Return it with the router's spelling of categories and the experts' own names.

        Raises:
            ValueError: a category that the router does not have, an expert that nobody knows, or a hole: a category
                without a score for an expert that another category has a score for.
        """
        known = {category.casefold(): category for category in categories}
        for category in (*self.scores, *self.mapping):
            if category.casefold() not in known:
                names = ", ".join(categories) or "none"
                raise ValueError(
                    f"{self.where}: category '{category}': the router does not have it; its categories: {names}"
                )
        scores = {known[category.casefold()]: self._resolved(row, directory) for category, row in self.scores.items()}
        self._check_holes(scores)
        mapping = {known[name.casefold()]: self._expert(expert, directory) for name, expert in self.mapping.items()}
        return replace(self, mapping=mapping, scores=scores, active_b=self._resolved(self.active_b, directory))

    def _resolved(self, row: Mapping[str, float], directory: Directory) -> dict[str, float]:
        return {self._expert(name, directory): value for name, value in row.items()}

    def _expert(self, name: str, directory: Directory) -> str:
        try:
            return directory.resolve(name)
        except ValueError as error:
            raise ValueError(
                f"{self.where}: {error}; give one of them this name as an alias, or map again without it"
            ) from error

    def _check_holes(self, scores: Mapping[str, Mapping[str, float]]) -> None:
        """Raises ValueError unless every category has a score for every expert that any category has one for."""
        experts = sorted({expert for row in scores.values() for expert in row})
        for category, row in scores.items():
            for expert in experts:
                if expert not in row:
                    raise ValueError(
                        f"{self.where}: expected_scores '{category}' has no score for '{expert}', which other "
                        "categories have one for; score it there and map again, or leave the expert out"
                    )


@dataclass(frozen=True, slots=True)
class Residency:
    """Preference for what is there. `epsilon` is an expected score; 0 turns it off."""

    epsilon: float = 0.0
    expected: Expected = field(default_factory=Expected)

    def __post_init__(self) -> None:
        if not 0.0 <= self.epsilon <= 1.0:
            raise ValueError(f"residency_epsilon {self.epsilon}: must lie in 0 to 1; 0 turns it off")

    def check(self, mapping: Mapping[str, str], general: str) -> None:
        """Raises ValueError if it is on and a mapped expert has no expected score.

        The general expert needs none: a category that nobody scored and that falls to it has no near-equals.
        """
        for category, expert in mapping.items() if self.epsilon else ():
            if expert != general and expert not in self.expected.scores.get(category, {}):
                raise ValueError(
                    f"residency_epsilon {self.epsilon:g} needs the expected score of '{expert}' on '{category}', and "
                    "there is none; name a mapping file that has it (`coe router map --json`), or write 0"
                )

    def choose(self, category: str, mapped: str, snapshot: Snapshot) -> CostTerm | None:
        """Return who should answer and what was weighed; None where it is off or knows nothing of the category."""
        scores = self.expected.scores.get(category, {})
        if not self.epsilon or mapped not in scores:
            return None
        chosen = mapped if is_resident(mapped, snapshot) else self._resident_near_equal(scores, mapped, snapshot)
        missing = snapshot.missing_bytes.get(mapped)
        return CostTerm(self.epsilon, mapped, scores[mapped], chosen, scores[chosen], missing)

    def _resident_near_equal(self, scores: Mapping[str, float], mapped: str, snapshot: Snapshot) -> str:
        least, active = scores[mapped] - self.epsilon - ROUNDING, self.expected.active_b
        near = [
            name
            for name, value in scores.items()
            if value >= least and active.get(name, 0.0) <= active.get(mapped, math.inf) and is_resident(name, snapshot)
        ]
        return min(near, key=lambda name: (-scores[name], name), default=mapped)


def is_resident(expert: str, snapshot: Snapshot) -> bool:
    """True if the expert could run without a load."""
    return snapshot.missing_bytes.get(expert) == 0 and expert not in snapshot.broken


def read_expected(path: Path) -> Expected:
    """Read a file that `coe router map --json` wrote.

    Raises:
        ValueError: not such a file, or a score that is not a number; the message names the place.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error}); write it with `coe router map --json`") from error
    mapping, expected, active_b = (part(raw, name, path) for name in ("mapping", "expected_scores", "active_b"))
    if not mapping:
        raise ValueError(f"{path}: 'mapping' is missing or empty; write the file with `coe router map --json`")
    for category, expert in mapping.items():
        if not isinstance(expert, str):
            raise ValueError(f"{path}: mapping of '{category}' is {expert!r}; it must be the name of an expert")
    scores = {category: numbers(row, f"{path}: expected_scores '{category}'") for category, row in expected.items()}
    return Expected(mapping, scores, numbers(active_b, f"{path}: active_b"), str(path))


def part(raw: Any, name: str, path: Path) -> dict[str, Any]:
    """Return an object's object of that name, an empty one where there is none."""
    found = raw.get(name, {}) if isinstance(raw, dict) else raw
    if not isinstance(found, dict):
        raise ValueError(f"{path}: '{name}' is not an object; write the file with `coe router map --json`")
    return found


def numbers(row: Any, where: str) -> dict[str, float]:
    """Return an object's values as finite numbers: each is one, or an object that has one as its `score`.

    Raises:
        ValueError: something else; the message names the first place.
    """
    if not isinstance(row, dict):
        raise ValueError(f"{where} is {row!r}; it must be an object of expert and number")
    found: dict[str, Any] = {name: cell.get("score") if isinstance(cell, dict) else cell for name, cell in row.items()}
    for expert, value in found.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"{where} has {json.dumps(value)} for '{expert}'; a score is a number: fill the hole")
    return {expert: float(value) for expert, value in found.items()}
