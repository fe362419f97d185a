"""The balance of labelled prompts: how many each category has, and how many of them are distinct.

Owns the counts and the report of a set of prompts for people. Knows nothing about files or training.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from router.labelled.bad_rows import lines_about
from router.labelled.duplicates import groups_of
from router.labelled.prompts import Prompt, PromptSet

__all__ = ["Balance", "CategoryBalance", "balance_of", "report"]

NUM_NAMED = 5


class CategoryBalance(NamedTuple):
    """A category's rows; `num_distinct` counts near-duplicates once."""

    category: str
    num_prompts: int
    num_distinct: int
    num_families: int


class Balance(NamedTuple):
    """The counts of a set of prompts, largest category first."""

    categories: tuple[CategoryBalance, ...]
    num_distinct: int
    conflicts: tuple[tuple[str, ...], ...]  # ids of near-duplicates that stand in several categories
    straddling: tuple[tuple[str, ...], ...]  # ids of near-duplicates that stand in several splits

    @property
    def num_prompts(self) -> int:
        return sum(row.num_prompts for row in self.categories)

    def __str__(self) -> str:
        total, duplicates = self.num_prompts, self.num_prompts - self.num_distinct
        lines = [f"{total} prompts, {len(self.categories)} categories, {duplicates} near-duplicates of another prompt"]
        lines.append(f"  {'category':20} {'prompts':>8} {'share':>7} {'distinct':>9} {'families':>9}")
        for name, num, distinct, families in self.categories:
            lines.append(f"  {name:20} {num:8} {num / total:7.1%} {distinct:9} {families:9}")
        lines += named("near-duplicates with different categories", self.conflicts)
        lines += named("near-duplicates in different splits of the source", self.straddling)
        return "\n".join(lines)


def named(what: str, groups: Sequence[Sequence[str]]) -> list[str]:
    """Return a line that counts the groups, and one for each of the first few."""
    if not groups:
        return []
    return [f"{what}: {len(groups)} groups, for example"] + [f"  {', '.join(ids[:4])}" for ids in groups[:NUM_NAMED]]


def report(found: PromptSet) -> str:
    """Return class balance, near-duplicates and bad rows for people."""
    return "\n".join([str(balance_of(found.prompts)), *lines_about(found.bad_rows)])


def balance_of(prompts: Sequence[Prompt]) -> Balance:
    """Return the counts of labelled prompts."""
    keys = groups_of([prompt.text for prompt in prompts])
    groups: dict[str, list[Prompt]] = defaultdict(list)
    for key, prompt in zip(keys, prompts, strict=True):
        groups[key].append(prompt)
    rows = Counter(prompt.category for prompt in prompts)
    distinct = Counter(category for group in groups.values() for category in {prompt.category for prompt in group})
    families = Counter(category for category, _ in {(prompt.category, prompt.family) for prompt in prompts})
    return Balance(
        tuple(CategoryBalance(name, num, distinct[name], families[name]) for name, num in rows.most_common()),
        len(groups),
        tuple(ids_of(group) for group in groups.values() if len({prompt.category for prompt in group}) > 1),
        tuple(ids_of(group) for group in groups.values() if len({prompt.split for prompt in group}) > 1),
    )


def ids_of(group: Sequence[Prompt]) -> tuple[str, ...]:
    return tuple(f"{prompt.id} ({prompt.category}, {prompt.split})" for prompt in group)
