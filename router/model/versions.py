"""Versions of a trained router in one folder: which one is served, which is in shadow, and what was served before.

Owns `versions.json` and where a version lies (`versions/0001`, each an artefact). The file is replaced whole, so that a
reader sees the state before or after a change and never half of one. Damaged state is refused by name. Knows nothing
about what an artefact holds, and changes nothing by itself.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "Versions",
    "VersionsError",
    "numbers_in",
    "read_versions",
    "served_folder",
    "shadow_folder",
    "sync_folder",
    "version_folder",
    "write_versions",
]

FORMAT = 1
STATE_FILE = "versions.json"
FOLDER = "versions"
NUMBER = re.compile(r"\d{4,}")


class VersionsError(ValueError):
    """A folder of versions whose state is damaged, or does not allow what is asked."""


@dataclass(frozen=True, slots=True)
class Versions:
    """The state of a folder: numbers of versions. `before` are those that were served earlier, the latest last."""

    served: str
    shadow: str | None = None
    before: tuple[str, ...] = ()


def version_folder(folder: Path, number: str) -> Path:
    """Return where a version lies."""
    return folder / FOLDER / number


def numbers_in(folder: Path) -> list[str]:
    """Return the numbers of all versions, lowest first; what is still being written has none."""
    found = (folder / FOLDER).iterdir() if (folder / FOLDER).is_dir() else ()
    return sorted((path.name for path in found if path.is_dir() and NUMBER.fullmatch(path.name)), key=int)


def read_versions(folder: Path) -> Versions | None:
    """Return the state of a folder; None where it holds no versions, but perhaps one artefact.

    Raises:
        VersionsError: the state is missing beside its versions, damaged, or names a version that is not there.
    """
    path, numbers = folder / STATE_FILE, numbers_in(folder)
    if not path.is_file():
        if numbers:
            raise damaged(folder, f"there are versions, and no {STATE_FILE} says which is served")
        return None
    try:
        found = state_of(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise damaged(folder, f"{STATE_FILE} cannot be read ({error})") from error
    for number in (found.served, *([] if found.shadow is None else [found.shadow]), *found.before):
        if number not in numbers:
            raise damaged(folder, f"{STATE_FILE} names version '{number}', which is not there")
    return found


def state_of(written: Any) -> Versions:
    """Return the state of a file's JSON; raises ValueError with what is wrong with it."""
    if not isinstance(written, dict) or written.get("format") != FORMAT:
        raise ValueError(f"not an object of format {FORMAT}")
    served, shadow, before = written.get("served"), written.get("shadow"), written.get("before")
    if not isinstance(before, list) or not all(isinstance(number, str) for number in (served, *before)):
        raise ValueError("served and before are not numbers of versions")
    if shadow is not None and (not isinstance(shadow, str) or shadow == served):
        raise ValueError(f"shadow {shadow!r} is not another version")
    assert isinstance(served, str)
    return Versions(served, shadow, tuple(before))


def damaged(folder: Path, what: str) -> VersionsError:
    """Return the error of a state that cannot be used, with what to write in its place."""
    numbers = numbers_in(folder)
    example = json.dumps(written_of(Versions(numbers[-1] if numbers else "0001")))
    remedy = f"restore {STATE_FILE} from a backup, or write {example} into it"
    return VersionsError(f"{folder}: {what}; there are {', '.join(numbers) or 'no versions'}; {remedy}")


def write_versions(folder: Path, versions: Versions) -> None:
    """Replace the state of a folder as one step, which lasts when this returns."""
    partial = folder / f".{STATE_FILE}.{os.getpid()}"
    with partial.open("w", encoding="utf-8") as stream:
        json.dump(written_of(versions), stream, indent=1)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(folder / STATE_FILE)
    sync_folder(folder)


def written_of(versions: Versions) -> dict[str, object]:
    return {"format": FORMAT, **asdict(versions)}


def sync_folder(folder: Path) -> None:
    """Make a rename in a folder last."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def served_folder(folder: Path) -> Path:
    """Return where the served artefact lies: a version, or the folder itself where it holds none."""
    versions = read_versions(folder)
    return folder if versions is None else version_folder(folder, versions.served)


def shadow_folder(folder: Path) -> Path | None:
    """Return where the artefact lies that decides in shadow; None without one."""
    versions = read_versions(folder)
    return None if versions is None or versions.shadow is None else version_folder(folder, versions.shadow)
