"""A folder of versions is written so that a reader never finds half of a version or of a change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from router_fakes import fake_artefact

from router.labelled.training_record import write_record
from router.model.artefact import DEFAULT_FOLDER, ArtefactError, load_artefact
from router.model.versions import Versions, VersionsError, numbers_in, read_versions, version_folder
from router.versions.changes import in_shadow, promoted
from router.versions.folder import add_version, change, open_versions, read_report


def saved(temperature: float) -> Callable[[Path], None]:
    return fake_artefact(temperature=temperature).save


def test_a_plain_artefact_becomes_the_first_version_and_decides_as_before(tmp_path: Path) -> None:
    saved(3.0)(tmp_path)
    write_record(tmp_path, ["a"], {}, {})
    assert open_versions(tmp_path) == open_versions(tmp_path) == Versions("0001")
    assert load_artefact(tmp_path).temperature == 3.0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["versions", "versions.json"]
    names = sorted(path.name for path in version_folder(tmp_path, "0001").iterdir())
    assert names == ["router.json", "router.safetensors", "training.json"]


def test_a_folder_without_a_router_is_named_with_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(VersionsError, match="no trained router there; make the first with `coe router train"):
        open_versions(tmp_path)
    saved(1.0)(tmp_path)
    (tmp_path / "router.safetensors").write_bytes(b"x")
    with pytest.raises(ArtefactError):
        open_versions(tmp_path)
    assert numbers_in(tmp_path) == []


def test_the_packages_own_router_is_not_turned_into_versions() -> None:
    with pytest.raises(VersionsError, match="copy the folder, and retrain the copy"):
        open_versions(DEFAULT_FOLDER)
    assert read_versions(DEFAULT_FOLDER) is None


def test_versions_are_numbered_on_and_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    saved(1.0)(tmp_path)
    open_versions(tmp_path)
    assert add_version(tmp_path, saved(2.0), {"passes": True}) == "0002"

    def fails(folder: Path) -> None:
        (folder / "router.json").write_text("half")
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        add_version(tmp_path, fails)
    assert sorted(path.name for path in (tmp_path / "versions").iterdir()) == ["0001", "0002"]
    assert add_version(tmp_path, saved(3.0)) == "0003"
    assert read_report(tmp_path, "0002") == {"passes": True}
    assert read_report(tmp_path, "0003") is None
    assert read_versions(tmp_path) == Versions("0001")


def test_a_number_that_another_retraining_took_meanwhile_is_passed_over(tmp_path: Path) -> None:
    saved(1.0)(tmp_path)
    open_versions(tmp_path)

    def overtaken(folder: Path) -> None:
        add_version(tmp_path, saved(2.0))
        saved(3.0)(folder)

    assert add_version(tmp_path, overtaken) == "0003"
    assert numbers_in(tmp_path) == ["0001", "0002", "0003"]


def test_a_change_is_made_to_the_state_as_it_is_now(tmp_path: Path) -> None:
    with pytest.raises(VersionsError, match="no versions there"):
        change(tmp_path, promoted)
    saved(1.0)(tmp_path)
    open_versions(tmp_path)
    number = add_version(tmp_path, saved(2.0))
    change(tmp_path, lambda state: in_shadow(state, number))
    assert change(tmp_path, promoted) == read_versions(tmp_path) == Versions("0002", None, ("0001",))
    assert load_artefact(tmp_path).temperature == 2.0


def test_a_damaged_report_is_named(tmp_path: Path) -> None:
    saved(1.0)(tmp_path)
    open_versions(tmp_path)
    (version_folder(tmp_path, "0001") / "report.json").write_text("[")
    with pytest.raises(VersionsError, match=r"report.json: not a report"):
        read_report(tmp_path, "0001")
