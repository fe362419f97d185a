"""A folder of versions on disk: one artefact becomes its first version, a new version is added, the state is changed.

Owns the order of writes: a version is written beside the others and renamed when it is whole, the state last, by one
command at a time. Knows nothing about training or the gate's rule.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from router.labelled.training_record import RECORD_FILE
from router.model.artefact import ARRAYS_FILE, DEFAULT_FOLDER, HEADER_FILE, read_artefact
from router.model.versions import (
    Versions,
    VersionsError,
    numbers_in,
    read_versions,
    sync_folder,
    version_folder,
    write_versions,
)
from router.versions.folder_lock import locked

__all__ = ["REPORT_FILE", "add_version", "change", "open_versions", "read_report"]

REPORT_FILE = "report.json"
FIRST = "0001"


def open_versions(folder: Path) -> Versions:
    """Return the state of a folder; an artefact that lies in it by itself becomes its first version, the served one.

    Raises:
        VersionsError: no router there, a damaged state, or another command that does not let go of the folder.
        ArtefactError: what lies there is no artefact that can be used.
    """
    if not folder.is_dir():
        raise no_router(folder)
    with locked(folder):
        return opened(folder)


def opened(folder: Path) -> Versions:
    if (found := read_versions(folder)) is not None:
        return found
    if folder.resolve() == DEFAULT_FOLDER.resolve():
        raise VersionsError(f"{folder}: the router that comes with coe; copy the folder, and retrain the copy")
    if not (folder / HEADER_FILE).is_file():
        raise no_router(folder)
    read_artefact(folder)
    names = [name for name in (HEADER_FILE, ARRAYS_FILE, RECORD_FILE) if (folder / name).is_file()]

    def copy(target: Path) -> None:
        for name in names:
            shutil.copy2(folder / name, target / name)

    first = Versions(add_version(folder, copy))
    write_versions(folder, first)
    for name in names:  # from here on the version is read; a crash before this leaves files that nobody reads
        (folder / name).unlink()
    return first


def no_router(folder: Path) -> VersionsError:
    return VersionsError(f"{folder}: no trained router there; make the first with `coe router train … --out {folder}`")


def add_version(folder: Path, write: Callable[[Path], None], report: Mapping[str, Any] | None = None) -> str:
    """Add what `write` writes into a folder as the next version, with the report of its gate; returns its number."""
    parent = version_folder(folder, FIRST).parent
    parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=parent))
    try:
        write(partial)
        if report is not None:
            text = json.dumps(report, ensure_ascii=False, indent=1)
            (partial / REPORT_FILE).write_text(text + "\n", encoding="utf-8")
        sync(partial)
        partial.chmod(0o755)  # mkdtemp lets nobody else read it
        number = placed(folder, partial)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    sync_folder(parent)
    return number


def placed(folder: Path, partial: Path) -> str:
    """Rename a whole version to the next number; another retraining may take numbers at the same time."""
    while True:
        numbers = numbers_in(folder)
        number = f"{int(numbers[-1]) + 1:04}" if numbers else FIRST
        try:
            partial.rename(version_folder(folder, number))
        except OSError:
            if not version_folder(folder, number).is_dir():
                raise
        else:
            return number


def sync(folder: Path) -> None:
    """Make every file of a folder last."""
    for path in folder.iterdir():
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
    sync_folder(folder)


def change(folder: Path, how: Callable[[Versions], Versions]) -> Versions:
    """Change the state of a folder as it is now, and return the new one.

    Raises:
        VersionsError: no versions there, a damaged state, one that does not allow the change, or another command that
            does not let go of the folder.
    """
    if not folder.is_dir():
        raise no_versions(folder)
    with locked(folder):
        versions = read_versions(folder)
        if versions is None:
            raise no_versions(folder)
        changed = how(versions)
        write_versions(folder, changed)
        return changed


def no_versions(folder: Path) -> VersionsError:
    return VersionsError(f"{folder}: no versions there; `coe router retrain {folder}` makes some of a trained router")


def read_report(folder: Path, number: str) -> dict[str, Any] | None:
    """Return the report of a version's gate; None for one that passed none. Raises VersionsError for a damaged one."""
    path = version_folder(folder, number) / REPORT_FILE
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("not an object")
    except ValueError as error:
        raise VersionsError(f"{path}: not a report ({error}); remove it, nothing is decided by it") from error
    return found
