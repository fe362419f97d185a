"""The measure of stickiness: its ends are known, and the two shares pull against each other."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from router_fakes import FakeEncoder, fake_artefact

from coe.cli import main
from router.directory import Directory
from router.evaluation.stickiness_command import follow_ups, measure
from router.policy import RoutingPolicy
from router.router import Router
from router.training.prompts import Prompt


def test_every_category_of_the_shipped_router_has_follow_ups_of_its_own() -> None:
    from router.model.artefact import load_artefact

    categories = load_artefact().categories
    found = follow_ups(categories)
    for category in categories:
        assert len({turn.text for turn in found if turn.category == category}) > 40
    assert {turn.category for turn in follow_ups(("math", "sql"))} == {"math", "sql"}


def test_at_the_ends_everything_moves_or_nothing_does() -> None:
    experts = {"math": "math", "sql": "sql", "general": "general"}
    policy = RoutingPolicy(Directory(experts, "general"), {"math": "math", "sql": "sql"})
    router = Router(fake_artefact(), FakeEncoder(), policy)
    prompts = [Prompt("select " * 5, "sql"), Prompt("sum " * 7, "math"), Prompt("sum sum sum sum sum sum", "sql")]
    rows = measure(router, prompts)
    assert rows[0].new_topics_move == 1.0
    assert rows[0].follow_ups_stay < rows[-1].follow_ups_stay
    assert all(one.follow_ups_stay <= two.follow_ups_stay for one, two in pairwise(rows))
    assert all(one.new_topics_move >= two.new_topics_move for one, two in pairwise(rows))


def test_the_command_prints_a_table_and_one_line_of_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "topics.jsonl"
    row = {"prompt": "Write a Python function that reverses a linked list.", "category": "code"}
    file.write_text(json.dumps(row) + "\n")
    assert main(["router", "stickiness", str(file), "--split", "all", "--json", str(tmp_path / "out.json")]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert json.loads(printed[-1]) == json.loads((tmp_path / "out.json").read_text())
    assert len(json.loads(printed[-1])["stickiness"]) == len(printed) - 2
    assert main(["router", "stickiness", str(file), "--split", "nowhere"]) == 2
