"""The preference for resident experts needs the expected score of every mapped expert."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from router.directory import Directory
from router.mapping import MappingFile, read_mapping_file
from router.residency_preference import ResidencyPreference

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


def test_a_mapped_expert_without_an_expected_score_is_refused_unless_it_is_off(tmp_path: Path) -> None:
    learned = read(tmp_path, GOOD)
    with pytest.raises(ValueError, match=r"residency_epsilon 0\.1 needs the expected score of 'b-2b' on 'y'"):
        ResidencyPreference(0.1, learned).check({"x": "a-1b", "y": "b-2b"}, "a-1b")
    ResidencyPreference(0.1, learned).check({"x": "b-2b", "y": "a-1b"}, "a-1b")
    ResidencyPreference(0.0, learned).check({"y": "b-2b"}, "a-1b")
