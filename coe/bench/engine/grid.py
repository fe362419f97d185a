"""What `coe bench engine` asks: one expert, a grid of batch sizes and prompt lengths, runs of each cell."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from coe.assembly.import_experts import Imported, imported_experts
from coe.bench.running_text import prompt_of
from coe.config.schema import Config
from coe.errors import ConfigError
from coe.weights.store.unit_store import UnitStore

__all__ = ["Grid", "chosen_expert"]


@dataclass(frozen=True, slots=True)
class Grid:
    """Cells of batch size and prompt length, largest last; `num_tokens` new ones a sequence, `num_runs` of a cell."""

    batch_sizes: tuple[int, ...]
    prompt_lengths: tuple[int, ...]
    num_tokens: int
    num_runs: int

    @classmethod
    def of(cls, arguments: argparse.Namespace, default: Grid, quick: Grid) -> Grid:
        """Return what the arguments name; for the rest `default`, or with --quick `quick` and its number of runs."""
        rest = quick if arguments.quick else default
        return cls(
            batch_sizes=tuple(arguments.batches or rest.batch_sizes),
            prompt_lengths=tuple(arguments.prompts or rest.prompt_lengths),
            num_tokens=arguments.tokens or rest.num_tokens,
            num_runs=quick.num_runs if arguments.quick else arguments.runs,
        )

    def batches(self, words: Sequence[int]) -> Iterator[list[list[int]]]:
        """Yield the prompts of every cell, cut from running text as token ids."""
        for length in self.prompt_lengths:
            for size in self.batch_sizes:
                yield [prompt_of(words, row, length) for row in range(size)]


def chosen_expert(config: Config, name: str | None) -> tuple[UnitStore, Imported]:
    """Import the named expert, else the general one, and no other; raises ConfigError or why it cannot be had."""
    name = name or config.router.general
    chosen = tuple(each for each in config.experts if each.name == name)
    if not chosen:
        raise ConfigError(f"--expert {name}: the experts are {', '.join(each.name for each in config.experts)}")
    store, imported, errors = imported_experts(replace(config, experts=chosen))
    if name in errors:
        raise errors[name]
    return store, imported[0]
