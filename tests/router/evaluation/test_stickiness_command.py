"""The measure of stickiness: its ends are known, and the two shares pull against each other."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from router_fakes import FakeEncoder, fake_artefact

from coe.cli import main
from router.directory import Directory
from router.evaluation.stickiness_command import measure, read_turns, shares
from router.labelled.conversations import TwoTurns, follow_ups, held_out_turns
from router.policy import RoutingPolicy
from router.router import Router


def test_held_out_conversations_are_many_half_of_them_new_topics_and_none_is_trained_on() -> None:
    found = held_out_turns()
    assert len(found) >= 300
    assert sum(each.stays for each in found) == len(found) / 2
    assert len(Counter(each.language for each in found)) >= 6
    assert not {each.second for each in found} & {each.second for each in follow_ups()}


def test_at_the_ends_everything_moves_or_nothing_does() -> None:
    experts = {"math": "math", "sql": "sql", "general": "general"}
    policy = RoutingPolicy(Directory(experts, "general"), {"math": "math", "sql": "sql"})
    router = Router(fake_artefact(), FakeEncoder(), policy)
    turns = [
        TwoTurns("sum " * 7, "select " * 5, False),
        TwoTurns("select select", "sum " * 7, False),
        TwoTurns("select select", "sum sum so so so", True),
        TwoTurns("select", "so so so so", True),
    ]
    rows = [shares(turns, measure(router, turns, stickiness), stickiness) for stickiness in (0.0, 0.5, 1.0)]
    assert (rows[0].new_topics_move, rows[-1].follow_ups_stay, rows[-1].new_topics_move) == (1.0, 1.0, 0.0)
    assert rows[1].right == 1.0
    assert all(one.follow_ups_stay <= two.follow_ups_stay for one, two in pairwise(rows))


def test_the_command_prints_a_table_and_one_line_of_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "turns.jsonl"
    row = {"first": "Write a Python function that reverses a list.", "second": "Now in Rust.", "stays": True}
    file.write_text(json.dumps(row) + "\n")
    assert main(["router", "stickiness", str(file), "--json", str(tmp_path / "out.json")]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert json.loads(printed[-1]) == json.loads((tmp_path / "out.json").read_text())
    assert len(json.loads(printed[-1])["stickiness"]) == len(printed) - 2


def test_a_row_that_is_no_conversation_is_named(tmp_path: Path) -> None:
    file = tmp_path / "turns.jsonl"
    file.write_text(json.dumps({"first": "a", "second": "b"}) + "\n")
    with pytest.raises(ValueError, match=r"needed are texts in 'first' and 'second' .*turns\.jsonl:1"):
        read_turns(file)
    assert main(["router", "stickiness", str(file)]) == 2


def test_bad_rows_are_left_out_and_a_tables_truth_values_are_read(tmp_path: Path) -> None:
    (tmp_path / "turns.csv").write_text("first,second,stays\na,b,True\nc,d,false\ne,f,perhaps\n")
    found = read_turns(tmp_path / "turns.csv")
    assert found.turns == [TwoTurns("a", "b", True), TwoTurns("c", "d", False)]
    assert [row.where for row in found.bad_rows] == ["turns.csv:3"]
