"""The mapping file: what `coe router map` writes is read back; holes and unknown names are refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from router.directory import Directory
from router.mapping import MappingFile, read_mapping_file
from router.mapping_study.map_command import add_arguments, run

DIRECTORY = Directory({"a-1b": "a-1b", "b-2b": "b-2b", "alias": "b-2b"}, "a-1b")
GOOD = {
    "mapping": {"x": "a-1b"},
    "expected_scores": {"x": {"a-1b": 0.5, "b-2b": 0.4}},
    "active_b": {"a-1b": 1, "b-2b": 2},
}


def read(folder: Path, content: object) -> MappingFile:
    path = folder / "mapping.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_mapping_file(path).checked(("x", "y"), DIRECTORY)


def test_what_map_writes_is_what_serving_reads(tmp_path: Path) -> None:
    import argparse

    rows = [("x", 1, 0), ("x", 1, 1), ("y", 0, 1), ("y", 0, 0)]
    scores = tmp_path / "scores.jsonl"
    scores.write_text(
        "".join(
            json.dumps({"prompt": f"p{n}", "category": c, "scores": {"a-1b": a, "b-2b": b}}) + "\n"
            for n, (c, a, b) in enumerate(rows)
        )
    )
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert run(parser.parse_args([str(scores), "--json", str(tmp_path / "mapping.json")])) == 0
    learned = read_mapping_file(tmp_path / "mapping.json").checked(("x", "y"), DIRECTORY)
    assert learned.mapping == {"x": "a-1b", "y": "b-2b"}
    assert learned.expected_scores == {"x": {"a-1b": 1.0, "b-2b": 0.5}, "y": {"a-1b": 0.0, "b-2b": 0.5}}
    assert learned.active_b == {"a-1b": 1.0, "b-2b": 2.0}


def test_an_expected_score_may_come_with_its_interval(tmp_path: Path) -> None:
    cell = {"score": 0.5, "low": 0.4, "high": 0.6, "num_prompts": 100}
    learned = read(tmp_path, {"mapping": {"x": "a-1b"}, "expected_scores": {"x": {"a-1b": cell, "b-2b": 0.25}}})
    assert learned.expected_scores == {"x": {"a-1b": 0.5, "b-2b": 0.25}}
    with pytest.raises(ValueError, match="has null for 'a-1b'"):
        read(tmp_path, {"mapping": {"x": "a-1b"}, "expected_scores": {"x": {"a-1b": {"low": 0.4}}}})


def test_names_are_matched_in_any_case_and_by_alias(tmp_path: Path) -> None:
    learned = read(tmp_path, {"mapping": {"X": "Alias"}, "expected_scores": {"X": {"ALIAS": 1}}})
    assert (learned.mapping, learned.expected_scores) == ({"x": "b-2b"}, {"x": {"b-2b": 1.0}})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ([], "'mapping' is not an object"),
        ({"expected_scores": {}}, "'mapping' is missing or empty; write the file with `coe router map --json`"),
        (GOOD | {"mapping": {"x": 1}}, "mapping of 'x' is 1; it must be the name of an expert"),
        (GOOD | {"mapping": {"z": "a-1b"}}, "category 'z': the router does not have it; its categories: x, y"),
        (GOOD | {"mapping": {"x": "c"}}, "expert 'c': no such expert; known experts: a-1b, b-2b"),
        (
            GOOD | {"expected_scores": {"x": {"c": 1}}},
            "expert 'c': no such expert.*as an alias, or map again without it",
        ),
        (
            GOOD | {"expected_scores": {"x": {"a-1b": None}}},
            "expected_scores 'x' has null for 'a-1b'; a score is a number: fill",
        ),
        (GOOD | {"expected_scores": {"x": {"a-1b": True}}}, "has true for 'a-1b'"),
        ('{"mapping": {"x": "a-1b"}, "expected_scores": {"x": {"a-1b": NaN}}}', "has NaN for 'a-1b'"),
        (GOOD | {"expected_scores": {"x": 3}}, "expected_scores 'x' is 3; it must be an object"),
        (GOOD | {"expected_scores": 3}, "'expected_scores' is not an object"),
        (
            GOOD | {"expected_scores": {"x": {"a-1b": 1, "b-2b": 1}, "y": {"a-1b": 1}}},
            "expected_scores 'y' has no score for 'b-2b', which other categories have one for; score it there",
        ),
    ],
)
def test_holes_and_unknown_names_are_refused_by_file_and_name(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path, content)
    assert "mapping.json" in str(caught.value)
