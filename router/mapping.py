"""The mapping category -> expert that a router decides by, and the file in which `coe router map` writes a learned one.

Owns what makes a mapping valid, the file's format and its checks: the mapping, expected scores by category and expert,
and active parameters. Knows nothing about how a mapping is learned; `router.mapping_study` does that.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from router.directory import Directory

__all__ = ["MappingFile", "checked_mapping", "read_mapping_file"]


def checked_mapping(mapping: Mapping[str, str], categories: Sequence[str], directory: Directory) -> Mapping[str, str]:
    """Return the mapping with the artefact's spelling of categories and the experts' own names.

    Raises:
        ValueError: a category that the classifier does not have, or an expert that the directory does not have.
    """
    known = {category.casefold(): category for category in categories}
    checked: dict[str, str] = {}
    for category, expert in mapping.items():
        if category.casefold() not in known:
            raise ValueError(
                f"category '{category}': the router does not have it; its categories: {', '.join(categories)}"
            )
        checked[known[category.casefold()]] = directory.resolve(expert, f"category '{category}' maps to")
    return checked


@dataclass(frozen=True, slots=True)
class MappingFile:
    """A learned mapping, with expected scores (category -> expert -> score) and active parameters in billions.

    `where` names the file in error messages.
    """

    mapping: Mapping[str, str] = field(default_factory=dict)
    expected_scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    active_b: Mapping[str, float] = field(default_factory=dict)
    where: str = "expected scores"

    def checked(self, categories: Sequence[str], directory: Directory) -> MappingFile:
        """Return it with the router's spelling of categories and the experts' own names.

        Raises:
            ValueError: a category that the router does not have, an expert that the directory does not have, or a
                category without a score for an expert that another category has a score for.
        """
        known = {category.casefold(): category for category in categories}
        for category in (*self.expected_scores, *self.mapping):
            if category.casefold() not in known:
                names = ", ".join(categories) or "none"
                raise ValueError(
                    f"{self.where}: category '{category}': the router does not have it; its categories: {names}"
                )
        scores = {
            known[category.casefold()]: self._resolved(row, directory) for category, row in self.expected_scores.items()
        }
        self._check_complete(scores)
        mapping = {known[name.casefold()]: self._expert(expert, directory) for name, expert in self.mapping.items()}
        return replace(self, mapping=mapping, expected_scores=scores, active_b=self._resolved(self.active_b, directory))

    def _resolved(self, row: Mapping[str, float], directory: Directory) -> dict[str, float]:
        return {self._expert(name, directory): value for name, value in row.items()}

    def _expert(self, name: str, directory: Directory) -> str:
        try:
            return directory.resolve(name)
        except ValueError as error:
            raise ValueError(
                f"{self.where}: {error}; give one of them this name as an alias, or map again without it"
            ) from error

    def _check_complete(self, scores: Mapping[str, Mapping[str, float]]) -> None:
        """Raises ValueError unless every category has a score for every expert that any category has one for."""
        experts = sorted({expert for row in scores.values() for expert in row})
        for category, row in scores.items():
            for expert in experts:
                if expert not in row:
                    raise ValueError(
                        f"{self.where}: expected_scores '{category}' has no score for '{expert}', which other "
                        "categories have one for; score it there and map again, or leave the expert out"
                    )


def read_mapping_file(path: Path) -> MappingFile:
    """Read a file that `coe router map --json` wrote.

    Raises:
        ValueError: not such a file, or a score that is not a number; the message names the place.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error}); write it with `coe router map --json`") from error
    mapping, expected, active_b = (object_in(raw, key, path) for key in ("mapping", "expected_scores", "active_b"))
    if not mapping:
        raise ValueError(f"{path}: 'mapping' is missing or empty; write the file with `coe router map --json`")
    for category, expert in mapping.items():
        if not isinstance(expert, str):
            raise ValueError(f"{path}: mapping of '{category}' is {expert!r}; it must be the name of an expert")
    scores = {category: numbers(row, f"{path}: expected_scores '{category}'") for category, row in expected.items()}
    return MappingFile(mapping, scores, numbers(active_b, f"{path}: active_b"), str(path))


def object_in(raw: Any, key: str, path: Path) -> dict[str, Any]:
    """Return the object under a key, an empty one where the key is missing."""
    found = raw.get(key, {}) if isinstance(raw, dict) else raw
    if not isinstance(found, dict):
        raise ValueError(f"{path}: '{key}' is not an object; write the file with `coe router map --json`")
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
