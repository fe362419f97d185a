"""The unit store: flat files named by the hash of their bytes, and one manifest for each imported source.

Owns a folder (units/, manifests/, tmp/) and the promise that a file under units/ is whole: files are written under
tmp/, flushed and renamed. A unit whose bytes were hashed has a seal: a modification time derived from its hash. A
program that writes to the file, replaces it or swaps it with another breaks the seal, and checking it costs one `stat`.
A load trusts a sealed unit and hashes any other. Covered: a process killed at any moment, several processes at once,
changes through the file system. Not covered: a disk that changes bytes by itself; `verify` and `rehash` find that.
Knows nothing about torch, sources or what the bytes mean.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from coe.errors import CoeError
from coe.weights.store.file_reads import pieces_of
from coe.weights.unit import DTYPE_SIZES, Manifest, TensorSpec, Unit

__all__ = ["UnitStore"]

log = logging.getLogger("coe.weights.store")

HASH_BYTES = 32  # BLAKE2b-256
SUBFOLDERS = ("units", "manifests", "tmp")


class UnitStore:
    """A content-addressed folder of units. All methods may raise OSError, to which callers add the expert's name.

    `rehash` hashes units at every load, sealed or not. With `heals`, a look-up returns no manifest with wrong bytes, so
    that its expert is imported anew.
    """

    def __init__(self, folder: Path, *, rehash: bool = False, heals: bool = True) -> None:
        self.folder = folder
        self._heals, self._rehash = heals, rehash
        for name in SUBFOLDERS:
            (folder / name).mkdir(parents=True, exist_ok=True)

    def path(self, unit: Unit) -> Path:
        """Return the path of the unit's file, whether it exists or not."""
        return self._unit_path(unit.hash)

    def put(self, data: memoryview) -> str:
        """Store these bytes unless they are stored already; returns their hash in hex."""
        digest = _hash_of(data)
        path = self._unit_path(digest)
        if not (_has_size(path, data.nbytes) and _is_sealed(path, digest)):
            path.parent.mkdir(exist_ok=True)
            self._write(path, data, digest)
        return digest

    def reads(self, unit: Unit, target: memoryview) -> Sequence[Callable[[], None]]:
        """Return calls that together read the unit into `target`; see `transfer.UnitSource`."""
        return pieces_of(self.path(unit), target)

    def check(self, unit: Unit, target: memoryview) -> None:
        """Raise ValueError if `target` does not have the unit's bytes; an unsealed file is hashed, then sealed."""
        path = self.path(unit)
        if not self._rehash and _is_sealed(path, unit.hash):
            return
        if _hash_of(target) != unit.hash:
            raise ValueError(
                f"{path} does not hold the bytes that were imported; restart to import the expert again, or run "
                "`coe experts verify`"
            )
        _seal(path, unit.hash)

    def save(self, manifest: Manifest) -> None:
        """Store a manifest, which makes an import visible; its units must be stored already."""
        text = json.dumps(asdict(manifest), indent=1, sort_keys=True)
        self._write(self._manifest_path(manifest.key), memoryview(text.encode()))

    def lookup(self, key: str) -> Manifest | None:
        """Return the manifest with this key if all its units have the right bytes; only unsealed ones are hashed.

        A manifest that cannot be read counts as absent, so that its expert is imported anew. A store that does not heal
        checks sizes alone, so that `verify` can show what is wrong.
        """
        path = self._manifest_path(key)
        if not path.is_file():
            return None
        try:
            manifest = _manifest(json.loads(path.read_text()))
            _check_sound(manifest, key)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            log.warning("manifest %s is damaged (%r); its expert is imported anew", path, error)
            return None
        is_right = self._is_right if self._heals else lambda unit: _has_size(self.path(unit), unit.size_bytes)
        return manifest if all(is_right(unit) for unit in manifest.units) else None

    def verify(self, manifest: Manifest) -> list[Unit]:
        """Hash every unit anew; returns those that are missing, short or changed."""
        return [unit for unit in manifest.units if not self._is_right(unit, rehash=True)]

    def drop(self, units: Iterable[Unit]) -> None:
        """Remove units with wrong bytes, so that the next import writes them anew."""
        for unit in units:
            self.path(unit).unlink(missing_ok=True)

    def gc(self, live: Iterable[Manifest]) -> int:
        """Remove all files that no live manifest needs, temporary ones included; returns the bytes freed.

        Raises CoeError while the store is in use.
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
    def in_use(self) -> Iterator[None]:
        """Keep `gc` from running, in this process and others; any number of users may use the store at once."""
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

    def _write(self, path: Path, data: memoryview, digest: str | None = None) -> None:
        """Write a file in full or not at all, and seal it if it has a hash."""
        handle, name = tempfile.mkstemp(dir=self.folder / "tmp")
        try:
            with open(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fdatasync(file.fileno())  # after a power cut a renamed file must have its bytes
            if digest is not None:
                _seal(Path(name), digest)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _is_right(self, unit: Unit, *, rehash: bool = False) -> bool:
        path = self.path(unit)
        if not _has_size(path, unit.size_bytes):
            return False
        if not rehash and _is_sealed(path, unit.hash):
            return True
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=HASH_BYTES)).hexdigest()
        if digest == unit.hash:
            _seal(path, digest)
        return digest == unit.hash

    def _files(self) -> list[Path]:
        folders = (self.folder / name for name in SUBFOLDERS)
        return [path for folder in folders for path in folder.rglob("*") if path.is_file()]

    def _unit_path(self, digest: str) -> Path:
        return self.folder / "units" / digest[:2] / digest

    def _manifest_path(self, key: str) -> Path:
        return self.folder / "manifests" / f"{key}.json"


def _has_size(path: Path, size_bytes: int) -> bool:
    try:
        return path.stat().st_size == size_bytes
    except FileNotFoundError:
        return False


def _hash_of(data: memoryview) -> str:
    return hashlib.blake2b(data, digest_size=HASH_BYTES).hexdigest()


def _seal(path: Path, digest: str) -> None:
    """Mark a file as hashed; in a read-only store files stay unsealed and are hashed at every load."""
    try:
        os.utime(path, (_seal_s(digest), _seal_s(digest)))
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EPERM, errno.EACCES):
            raise


def _is_sealed(path: Path, digest: str) -> bool:
    return int(path.stat().st_mtime) == _seal_s(digest)


def _seal_s(digest: str) -> int:
    """Return a whole, even second between 2001 and 2035, which every file system can store."""
    return (1 << 30) + (int(digest[:8], 16) & 0x3FFF_FFFE)


def _check_sound(manifest: Manifest, key: str) -> None:
    """Raise ValueError for a manifest whose tensors do not lie in its units."""
    specs = [(spec, unit.size_bytes) for unit in manifest.units for spec in unit.tensors]
    lie_inside = all(
        spec.dtype in DTYPE_SIZES and 0 <= spec.offset <= size_bytes - spec.size_bytes for spec, size_bytes in specs
    )
    if manifest.key != key or not specs or not lie_inside:
        raise ValueError("its tensors do not lie in its units")


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
