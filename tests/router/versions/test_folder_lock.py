"""Two commands that change a folder of versions go one after the other; one that waits too long says why."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from router_fakes import fake_artefact

from router.model.versions import Versions, VersionsError, read_versions
from router.versions.changes import in_shadow, promoted
from router.versions.folder import add_version, change, open_versions
from router.versions.folder_lock import locked

HOLDER = """
import sys
from pathlib import Path
from router.versions.folder_lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def folder_of_versions(folder: Path) -> Path:
    fake_artefact(temperature=1.0).save(folder)
    open_versions(folder)
    return folder


def test_no_change_is_lost_among_many_at_once(tmp_path: Path) -> None:
    folder = folder_of_versions(tmp_path)

    def once_more(_: int) -> Versions:
        return change(folder, lambda state: replace(state, before=(*state.before, state.served)))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(once_more, range(24)))
    assert read_versions(folder) == Versions("0001", None, ("0001",) * 24)


def test_a_second_promote_finds_nothing_in_shadow(tmp_path: Path) -> None:
    folder = folder_of_versions(tmp_path)
    number = add_version(folder, fake_artefact(temperature=2.0).save)
    change(folder, lambda state: in_shadow(state, number))

    def outcome(_: int) -> str:
        try:
            return change(folder, promoted).served
        except VersionsError as error:
            return str(error)

    with ThreadPoolExecutor(2) as pool:
        said = sorted(pool.map(outcome, range(2)))
    assert said[0] == number
    assert "shadow" in said[1]
    assert read_versions(folder) == Versions(number, None, ("0001",))


def test_a_folder_that_another_process_holds_is_an_error_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of_versions(tmp_path)
    monkeypatch.setattr("router.versions.folder_lock.WAIT_S", 0.1)
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(VersionsError, match=r"another command has been changing its versions for 0\.1 s"):
            change(folder, lambda state: state)
        with pytest.raises(VersionsError, match="another command"):
            open_versions(folder)
        holder.kill()
    assert change(folder, lambda state: state) == Versions("0001")


def test_a_lock_ends_with_an_error_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(KeyError), locked(tmp_path):
        raise KeyError("x")
    with locked(tmp_path):
        assert list(tmp_path.iterdir()) == []
