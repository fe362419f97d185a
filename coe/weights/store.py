"""The unit store: flat files named by the hash of their bytes, and one manifest per imported source.

Owns a folder (units/, manifests/, tmp/) and the promise that a file under units/ is whole: everything is written under
tmp/, flushed and renamed. Covered: a process killed at any moment, several processes at once. Not covered: a disk
that changes bytes later; `verify` finds those. Knows nothing about torch, sources or what the bytes mean.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from coe.errors import CoeError
from coe.weights.unit import Manifest, TensorSpec, Unit

__all__ = ["UnitStore"]

HASH_BYTES = 32  # BLAKE2b-256


class UnitStore:
    """A content-addressed folder of units. All methods may raise OSError; callers know whose bytes they were."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for part in ("units", "manifests", "tmp"):
            (folder / part).mkdir(parents=True, exist_ok=True)

    def path(self, unit: Unit) -> Path:
        """Return where the unit's bytes lie (or would)."""
        return self._unit_path(unit.hash)

    def put(self, data: memoryview) -> str:
        """Store these bytes unless they are there already; return their hash in hex."""
        digest = hashlib.blake2b(data, digest_size=HASH_BYTES).hexdigest()
        path = self._unit_path(digest)
        if not _has_size(path, data.nbytes):
            path.parent.mkdir(exist_ok=True)
            self._write(path, data)
        return digest

    def save(self, manifest: Manifest) -> None:
        """Make an import visible; its units must be stored."""
        text = json.dumps(asdict(manifest), indent=1, sort_keys=True)
        self._write(self._manifest_path(manifest.key), memoryview(text.encode()))

    def lookup(self, key: str) -> Manifest | None:
        """Return the manifest with this key if all its units are there in full length; hashes are not computed."""
        path = self._manifest_path(key)
        if not path.is_file():
            return None
        manifest = _manifest(json.loads(path.read_text()))
        whole = all(_has_size(self.path(unit), unit.size_bytes) for unit in manifest.units)
        return manifest if whole else None

    def verify(self, manifest: Manifest) -> list[Unit]:
        """Read and re-hash every unit; return those that are missing, short or changed."""
        return [unit for unit in manifest.units if self._hash_of(unit) != unit.hash]

    def drop(self, units: Iterable[Unit]) -> None:
        """Remove units (bad ones, so that the next import writes them anew)."""
        for unit in units:
            self.path(unit).unlink(missing_ok=True)

    def gc(self, live: Iterable[Manifest]) -> int:
        """Remove all that no live manifest needs, orphaned temporary files included; return the bytes freed.

        Raises CoeError while anybody holds the store.
        """
        manifests = list(live)
        kept = {self.path(unit) for manifest in manifests for unit in manifest.units}
        kept |= {self._manifest_path(manifest.key) for manifest in manifests}
        freed = 0
        with self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB):
            for path in [path for path in self._files() if path not in kept]:
                freed += path.stat().st_size
                path.unlink()
        return freed

    def disk_bytes(self) -> int:
        """Return the bytes of all files in the store."""
        return sum(path.stat().st_size for path in self._files())

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep `gc` away, in this process and others; any number may hold the store at once."""
        with self._lock(fcntl.LOCK_SH):
            yield

    @contextmanager
    def _lock(self, kind: int) -> Iterator[None]:
        with (self.folder / "lock").open("w") as file:
            try:
                fcntl.flock(file, kind)
            except BlockingIOError:
                raise CoeError(
                    f"store {self.folder} is in use; try again when imports and servers have ended"
                ) from None
            yield

    def _write(self, path: Path, data: memoryview) -> None:
        """Write a file that is there in full or not at all."""
        handle, name = tempfile.mkstemp(dir=self.folder / "tmp")
        try:
            with open(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fdatasync(file.fileno())  # a rename must not outlive its bytes in a power cut
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _hash_of(self, unit: Unit) -> str | None:
        path = self.path(unit)
        if not _has_size(path, unit.size_bytes):
            return None
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=HASH_BYTES)).hexdigest()

    def _files(self) -> list[Path]:
        parts = (self.folder / part for part in ("units", "manifests", "tmp"))
        return [path for part in parts for path in part.rglob("*") if path.is_file()]

    def _unit_path(self, digest: str) -> Path:
        return self.folder / "units" / digest[:2] / digest

    def _manifest_path(self, key: str) -> Path:
        return self.folder / "manifests" / f"{key}.json"


def _has_size(path: Path, size_bytes: int) -> bool:
    try:
        return path.stat().st_size == size_bytes
    except FileNotFoundError:
        return False


def _manifest(raw: Mapping[str, Any]) -> Manifest:
    units = (
        Unit(
            unit["name"],
            unit["hash"],
            unit["size_bytes"],
            tuple(TensorSpec(**{**spec, "shape": tuple(spec["shape"])}) for spec in unit["tensors"]),
        )
        for unit in raw["units"]
    )
    return Manifest(**{**raw, "units": tuple(units)})
