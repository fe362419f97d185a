"""The state of a folder of versions: read, written whole, and refused by name where it is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from router_fakes import fake_artefact

from router.model.artefact import load_artefact
from router.model.versions import (
    Versions,
    VersionsError,
    numbers_in,
    read_versions,
    served_folder,
    shadow_folder,
    version_folder,
    write_versions,
)


def with_versions(folder: Path, state: Versions | None, *numbers: str) -> Path:
    for at, number in enumerate(numbers):
        fake_artefact(temperature=1.0 + at).save(version_folder(folder, number))
    if state is not None:
        write_versions(folder, state)
    return folder


def test_a_state_comes_back_as_it_was_written(tmp_path: Path) -> None:
    state = Versions("0002", "10000", ("0001",))
    with_versions(tmp_path, state, "0002", "10000", "0001")
    assert read_versions(tmp_path) == state
    assert numbers_in(tmp_path) == ["0001", "0002", "10000"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["versions", "versions.json"]


def test_loading_a_folder_of_versions_loads_the_served_one(tmp_path: Path) -> None:
    with_versions(tmp_path, Versions("0002", "0001"), "0001", "0002")
    assert load_artefact(tmp_path).temperature == 2.0
    write_versions(tmp_path, Versions("0001"))
    assert load_artefact(tmp_path, 0.3).temperature == 1.0
    assert shadow_folder(tmp_path) is None


def test_a_plain_folder_is_itself(tmp_path: Path) -> None:
    fake_artefact().save(tmp_path)
    assert read_versions(tmp_path) is None
    assert served_folder(tmp_path) == tmp_path
    assert shadow_folder(tmp_path) is None
    assert load_artefact(tmp_path).categories == ("math", "sql")


def test_a_version_that_is_still_being_written_is_none(tmp_path: Path) -> None:
    with_versions(tmp_path, Versions("0001"), "0001", ".partial-x")
    assert numbers_in(tmp_path) == ["0001"]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (None, "no versions.json says which is served"),
        ("{", "cannot be read"),
        ("[]", "not an object of format 1"),
        (json.dumps({"format": 2}), "not an object of format 1"),
        (json.dumps({"format": 1, "served": 1, "before": []}), "not numbers of versions"),
        (json.dumps({"format": 1, "served": "0001", "shadow": "0001", "before": []}), "shadow '0001'"),
        (json.dumps({"format": 1, "served": "0007", "shadow": None, "before": []}), "version '0007', which is not"),
        (json.dumps({"format": 1, "served": "0001", "shadow": "../x", "before": []}), "version '../x', which is not"),
        (json.dumps({"format": 1, "served": "0001", "shadow": None, "before": ["0009"]}), "version '0009'"),
    ],
)
def test_damaged_state_is_refused_with_what_to_write(tmp_path: Path, written: str | None, said: str) -> None:
    with_versions(tmp_path, None, "0001", "0002")
    if written is not None:
        (tmp_path / "versions.json").write_text(written)
    with pytest.raises(VersionsError, match=said) as refused:
        load_artefact(tmp_path)
    assert "there are 0001, 0002" in str(refused.value)
    remedy = str(refused.value).split("or write ")[1].split(" into it")[0]
    (tmp_path / "versions.json").write_text(remedy)
    assert read_versions(tmp_path) == Versions("0002")
