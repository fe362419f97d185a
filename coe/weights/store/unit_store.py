"""The unit store: flat files named by the hash of their bytes, and one manifest for each imported source.

Owns a folder (units/, manifests/, tmp/, holders/) and the promise that a file under units/ is whole: files are written
under tmp/, flushed and renamed. A unit whose bytes were hashed has a seal: a modification time derived from its hash. A
program that writes to the file, replaces it or swaps it with another breaks the seal, and checking it costs one `stat`.
A load trusts a sealed unit and hashes any other. What a process looks up or writes is its own until it ends: `gc` in
another process spares it (holders.py). Covered: a process killed at any moment, several processes at once, changes
through the file system, a store that can only be read. Not covered: a disk that changes bytes by itself; `verify` and
`rehash` find that. Knows nothing about torch, sources or what the bytes mean.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from coe.errors import CoeError, ConfigError
from coe.weights.store.file_reads import pieces_of
from coe.weights.store.holders import Holder, needed_by_the_living, store_lock
from coe.weights.unit import DTYPE_SIZES, Manifest, TensorSpec, Unit

__all__ = ["UnitStore"]

log = logging.getLogger("coe.weights.store")

HASH_BYTES = 32  # BLAKE2b-256
SUBFOLDERS = ("units", "manifests", "tmp")
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


class UnitStore:
    """A content-addressed folder of units. All methods may raise OSError, to which callers add the expert's name.

    `rehash` hashes units at every load, sealed or not. With `heals`, a look-up returns no manifest with wrong bytes, so
    that its expert is imported anew. `makes` makes the folder, and raises ConfigError if that cannot be.
    """

    def __init__(self, folder: Path, *, rehash: bool = False, heals: bool = True, makes: bool = True) -> None:
        self.folder = folder
        self._heals, self._rehash = heals, rehash
        self._holder = Holder(folder / "holders")
        self._written: set[Path] = set()  # units that an import has written and no manifest names yet
        self.is_read_only = _is_read_only(folder)
        if self.is_read_only:
            log.info("store %s can only be read: nothing is written, and `coe experts gc` does not know of us", folder)
        elif makes:
            self._make()

    def close(self) -> None:
        """Let `gc` remove what this process has used."""
        self._holder.close()

    def path(self, unit: Unit) -> Path:
        """Return the path of the unit's file, whether it exists or not."""
        return self._unit_path(unit.hash)

    def put(self, data: memoryview) -> str:
        """Store these bytes unless they are stored already; returns their hash in hex."""
        digest = _hash_of(data)
        path = self._unit_path(digest)
        with self._locked():
            self._hold([path])
            if not (_has_size(path, data.nbytes) and _is_sealed(path, digest)):
                path.parent.mkdir(exist_ok=True)
                if not path.exists():  # else it is somebody's, whose seal is lost
                    self._written.add(path)
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
        self._seal(path, unit.hash)

    def save(self, manifest: Manifest) -> None:
        """Store a manifest, which makes an import visible; its units must be stored already."""
        text = json.dumps(asdict(manifest), indent=1, sort_keys=True)
        with self._locked():
            self._hold(self._files_of(manifest))
            self._write(self._manifest_path(manifest.key), memoryview(text.encode()))
        self._written.clear()

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """Within it one import runs: if that fails, the units that it alone has written are removed again."""
        self._written.clear()
        try:
            yield
        except Exception:
            with suppress(OSError):  # the import's own error is the one to show
                self._remove_written()
            raise

    def lookup(self, key: str) -> Manifest | None:
        """Return the manifest with this key if all its units have the right bytes; only unsealed ones are hashed.

        A manifest that cannot be read counts as absent, so that its expert is imported anew. A store that does not heal
        checks sizes alone, so that `verify` can show what is wrong.
        """
        if not self._manifest_path(key).is_file():
            return None
        with self._locked():
            manifest = self._read_manifest(key)
            if manifest is None:
                return None
            self._hold(self._files_of(manifest))  # before its units are looked at: from here on `gc` spares them
        is_right = self._is_right if self._heals else lambda unit: _has_size(self.path(unit), unit.size_bytes)
        return manifest if all(is_right(unit) for unit in manifest.units) else None

    def verify(self, manifest: Manifest) -> list[Unit]:
        """Hash every unit anew; returns those that are missing, short or changed."""
        return [unit for unit in manifest.units if not self._is_right(unit, rehash=True)]

    def drop(self, units: Iterable[Unit]) -> None:
        """Remove units with wrong bytes, so that the next import writes them anew."""
        for unit in units:
            self.path(unit).unlink(missing_ok=True)

    def gc(self, keys: Iterable[str]) -> int:
        """Remove all files but those of these manifests and those that a living process needs; returns the bytes freed.

        Temporary files go too: nobody writes one now. Waits while a unit is being written; raises CoeError for a store
        that can only be read.
        """
        if self.is_read_only:
            raise CoeError(f"store {self.folder} can only be read: nothing can be removed there")
        freed = 0
        with self._locked(exclusive=True):
            manifests = [manifest for key in keys if (manifest := self._read_manifest(key)) is not None]
            kept = {path for manifest in manifests for path in self._files_of(manifest)}
            kept |= {self.folder / name for name in needed_by_the_living(self.folder / "holders")}
            for path in [path for path in self._files() if path not in kept]:
                freed += path.stat().st_size
                path.unlink()
        return freed

    def disk_bytes(self) -> int:
        """Return the bytes of all files in the store."""
        return sum(_size_of(path) or 0 for path in self._files())  # some may have gone meanwhile

    def _make(self) -> None:
        try:
            for name in SUBFOLDERS:
                (self.folder / name).mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:  # a path with a NUL in it is a ValueError
            raise ConfigError(
                f"[cache] dir = {str(self.folder)!r} cannot be made ({error}); name a folder that can be written to"
            ) from error

    def _locked(self, *, exclusive: bool = False) -> AbstractContextManager[None]:
        return nullcontext() if self.is_read_only else store_lock(self.folder / "lock", exclusive=exclusive)

    def _hold(self, paths: Iterable[Path]) -> None:
        if not self.is_read_only:
            self._holder.add(str(path.relative_to(self.folder)) for path in paths)

    def _remove_written(self) -> None:
        with self._locked(exclusive=True):
            others = needed_by_the_living(self.folder / "holders", apart_from=self._holder.path)
            for path in self._written:
                if str(path.relative_to(self.folder)) not in others:
                    path.unlink(missing_ok=True)
        self._written.clear()

    def _write(self, path: Path, data: memoryview, digest: str | None = None) -> None:
        """Write a file in full or not at all, and seal it if it has a hash."""
        sync = getattr(os, "fdatasync", os.fsync)
        name = self.folder / "tmp" / secrets.token_hex(16)
        try:
            with name.open("xb") as file:  # as the umask has it: others may serve from this store
                file.write(data)
                file.flush()
                sync(file.fileno())  # after a power cut a renamed file must have its bytes
            if digest is not None:
                _seal(name, digest)
            os.replace(name, path)
        except BaseException:
            name.unlink(missing_ok=True)
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
            self._seal(path, digest)
        return digest == unit.hash

    def _seal(self, path: Path, digest: str) -> None:
        """Mark a file as hashed; where that cannot be written, it is hashed at every load."""
        if not self.is_read_only:
            _seal(path, digest)

    def _read_manifest(self, key: str) -> Manifest | None:
        """Return a manifest, None where it is not there or damaged: then its expert is imported anew."""
        path = self._manifest_path(key)
        try:
            manifest = _manifest(json.loads(path.read_text(encoding="utf-8")))
            _check_sound(manifest, key)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            log.warning("manifest %s is damaged (%r) and passed over", path, error)
            return None
        return manifest

    def _files_of(self, manifest: Manifest) -> list[Path]:
        return [self._manifest_path(manifest.key), *map(self.path, manifest.units)]

    def _files(self) -> list[Path]:
        folders = (self.folder / name for name in SUBFOLDERS)
        return [path for folder in folders for path in folder.rglob("*") if path.is_file()]

    def _unit_path(self, digest: str) -> Path:
        return self.folder / "units" / digest[:2] / digest

    def _manifest_path(self, key: str) -> Path:
        return self.folder / "manifests" / f"{key}.json"


def _has_size(path: Path, size_bytes: int) -> bool:
    return _size_of(path) == size_bytes


def _size_of(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _hash_of(data: memoryview) -> str:
    return hashlib.blake2b(data, digest_size=HASH_BYTES).hexdigest()


def _seal(path: Path, digest: str) -> None:
    """Give a file the time that its hash says; a file of another user may stay as it is."""
    try:
        os.utime(path, (_seal_s(digest), _seal_s(digest)))
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise


def _is_sealed(path: Path, digest: str) -> bool:
    return int(path.stat().st_mtime) == _seal_s(digest)


def _seal_s(digest: str) -> int:
    """Return a whole, even second between 2001 and 2035, which every file system can store."""
    return (1 << 30) + (int(digest[:8], 16) & 0x3FFF_FFFE)


def _is_read_only(folder: Path) -> bool:
    """Return whether there is a store that this process may read and not change."""
    there = [folder, *(folder / name for name in SUBFOLDERS if os.path.isdir(folder / name))]
    return os.path.isdir(folder / "manifests") and not all(os.access(path, os.W_OK) for path in there)


def _digest(text: str) -> str:
    """Return a hash as it stands in a manifest; raises ValueError for anything else, which might be a path."""
    if len(bytes.fromhex(text)) != HASH_BYTES or text != text.strip():
        raise ValueError(f"{text[:80]!r} is no hash")
    return text


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
            str(unit["name"]),
            _digest(unit["hash"]),
            int(unit["size_bytes"]),
            tuple(TensorSpec(**{**spec, "shape": tuple(spec["shape"])}) for spec in unit["tensors"]),
        )
        for unit in raw["units"]
    )
    return Manifest(**{**raw, "units": tuple(units)})
