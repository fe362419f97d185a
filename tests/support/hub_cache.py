"""The model hub without a network: a folder laid out as huggingface_hub's cache."""

from __future__ import annotations

import shutil
from pathlib import Path

__all__ = ["COMMIT", "as_hub_cache", "no_network"]

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def as_hub_cache(hub: Path, repo: str, folder: Path) -> None:
    """Lay a folder out as huggingface_hub's cache does: blobs, a snapshot of links, a branch."""
    root = hub / f"models--{repo.replace('/', '--')}"
    snapshot = root / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (root / "blobs").mkdir()
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(COMMIT)
    for path in folder.iterdir():
        blob = shutil.copy(path, root / "blobs" / path.name)
        (snapshot / path.name).symlink_to(blob)


def no_network(*_args: object, **_options: object) -> None:
    raise OSError("this test has no network")
