"""Every field of the configuration has a key, every key a field, and examples/coe.toml shows them all."""

from __future__ import annotations

import shutil
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from coe.config.keys import KEYS
from coe.config.read import load_config
from coe.config.schema import (
    AccessConfig,
    AnswerCacheConfig,
    CacheConfig,
    EngineConfig,
    ExpertConfig,
    RouterConfig,
    RuleConfig,
    SchedulerConfig,
    ServerConfig,
    TelemetryConfig,
)
from coe.types import Sampling

EXAMPLE = Path(__file__).parents[3] / "examples" / "coe.toml"
VALUES = {
    "cache": CacheConfig,
    "engine": EngineConfig,
    "scheduler": SchedulerConfig,
    "router": RouterConfig,
    "server": ServerConfig,
    "access": AccessConfig,
    "answer_cache": AnswerCacheConfig,
    "telemetry": TelemetryConfig,
    "router.rules": RuleConfig,
    "experts.*.generation": Sampling,
}


@pytest.mark.parametrize("table", VALUES)
def test_every_field_of_a_table_has_a_key(table: str) -> None:
    # no expert has a default for those of a request, and descriptions stand in the experts' tables
    without_key = {"logit_bias", "min_tokens", "ignore_eos", "num_logprobs", "descriptions"}
    assert {item.name for item in fields(VALUES[table])} - without_key == set(KEYS[table])


def test_every_field_of_an_expert_has_a_key() -> None:
    keys = set(KEYS["experts.*"]) - {"revision"}  # part of the source
    assert {item.name for item in fields(ExpertConfig)} - {"name"} == keys


def test_example_shows_every_key_there_is(tmp_path: Path) -> None:
    (tmp_path / "router" / "default").mkdir(parents=True)  # what the example's artefact names
    shutil.copytree(EXAMPLE.parent, tmp_path / "examples", ignore=shutil.ignore_patterns("demo"))
    config = load_config(tmp_path / "examples" / "coe.toml")
    assert config.router.categories["math"] == "math"
    written = tomllib.loads(EXAMPLE.read_text())
    experts = [expert for expert in written["experts"].values() if isinstance(expert, dict)]
    nested = {
        "experts.*": experts,
        "experts.*.generation": [experts[0]["generation"]],
        "router.rules": written["router"]["rules"],
    }
    for table, readers in KEYS.items():
        shown = nested.get(table) or [written[table]]
        assert {key for item in shown for key in item} == set(readers)
