"""What is asked is what the arguments say, and the expert is the named one alone."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
from compositions import write_config

from coe.bench.engine.command import add_arguments
from coe.bench.engine.cpu_engine import DEFAULT, QUICK
from coe.bench.engine.grid import Grid, chosen_expert
from coe.config.read import load_config
from coe.errors import ConfigError


def asked(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), DEFAULT),
        (("--quick",), QUICK),
        (("--runs", "7"), Grid((1, 4, 8, 16, 32), (64, 512, 2048), 32, 7)),
        (("--quick", "--batches", "3", "--prompts", "9", "--tokens", "5", "--runs", "7"), Grid((3,), (9,), 5, 1)),
    ],
)
def test_arguments_come_before_what_a_grid_has_without_them(words: tuple[str, ...], expected: Grid) -> None:
    assert Grid.of(asked(*words), DEFAULT, QUICK) == expected


def test_every_cell_has_as_many_prompts_of_as_many_tokens_and_none_share_a_beginning() -> None:
    batches = list(Grid((1, 3), (4, 8), 2, 1).batches(range(100)))
    assert [(len(batch), {len(prompt) for prompt in batch}) for batch in batches] == [
        (1, {4}),
        (3, {4}),
        (1, {8}),
        (3, {8}),
    ]
    assert len({prompt[0] for prompt in batches[1]}) == 3


@pytest.mark.parametrize("words", [("--tokens", "1"), ("--batches", "0"), ("--prompts", "-1"), ("--runs", "x")])
def test_counts_that_nothing_can_be_measured_with_are_refused(
    words: tuple[str, str], capsys: pytest.CaptureFixture[Any]
) -> None:
    with pytest.raises(SystemExit):
        asked(*words)
    assert f"'{words[1]}' is no whole number of at least" in capsys.readouterr().err


def test_only_the_named_expert_is_imported(tmp_path: Path, llama_folder: Path) -> None:
    config = load_config(write_config(tmp_path, {"general": llama_folder, "other": llama_folder}))
    store, expert = chosen_expert(config, "other")
    assert expert.spec.name == "other"
    assert all(store.path(unit).is_file() for unit in expert.manifest.units)
    with pytest.raises(ConfigError, match="--expert sql: the experts are general, other"):
        chosen_expert(config, "sql")
