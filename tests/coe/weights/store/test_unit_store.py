"""The unit store: a file is whole or absent, equal bytes are one file, and nothing lives longer than it is needed."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from coe.errors import CoeError
from coe.weights.store.unit_store import UnitStore
from coe.weights.unit import Manifest, TensorSpec, Unit

PAGE = 4096


def make_manifest(store: UnitStore, key: str, *contents: bytes) -> Manifest:
    units = []
    for index, content in enumerate(contents):
        data = content.ljust(PAGE, b"\0")
        spec = TensorSpec(f"t{index}", "F32", (2, 2), 0)
        units.append(Unit(f"layer.{index}", store.put(memoryview(data)), PAGE, (spec,)))
    manifest = Manifest(key, "somewhere", "float32", {"a": 1}, {"b": [2]}, "tokenizer", tuple(units), {"x": "y"})
    store.save(manifest)
    return manifest


@pytest.fixture
def store(tmp_path: Path) -> UnitStore:
    return UnitStore(tmp_path / "store")


def test_saved_manifest_comes_back_equal(store: UnitStore) -> None:
    manifest = make_manifest(store, "key", b"one", b"two")
    assert UnitStore(store.folder).lookup("key") == manifest
    assert store.lookup("other") is None


def test_equal_bytes_are_one_file(store: UnitStore) -> None:
    manifest = make_manifest(store, "key", b"same", b"same")
    first, second = manifest.units
    assert store.path(first) == store.path(second)
    assert [path.name for path in store.folder.glob("units/*/*")] == [first.hash]
    assert store.path(first).parent.name == first.hash[:2]


def test_manifest_is_not_found_while_a_unit_is_missing_or_short(store: UnitStore) -> None:
    manifest = make_manifest(store, "key", b"one", b"two")
    path = store.path(manifest.units[1])
    os.truncate(path, 100)
    assert store.lookup("key") is None
    path.unlink()
    assert store.lookup("key") is None


def test_put_replaces_a_file_of_the_wrong_size(store: UnitStore) -> None:
    manifest = make_manifest(store, "key", b"one")
    os.truncate(store.path(manifest.units[0]), 10)
    assert make_manifest(store, "key", b"one") == manifest
    assert store.verify(manifest) == []


def test_verify_finds_changed_short_and_missing_units(store: UnitStore) -> None:
    manifest = make_manifest(store, "key", b"one", b"two", b"three", b"four")
    changed, short, missing, _ = manifest.units
    store.path(changed).write_bytes(b"x".ljust(PAGE, b"\0"))
    os.truncate(store.path(short), 100)
    store.path(missing).unlink()
    assert store.verify(manifest) == [changed, short, missing]
    store.drop([changed, short])
    assert not store.path(changed).exists()


def test_gc_keeps_exactly_what_live_manifests_need(store: UnitStore) -> None:
    live = make_manifest(store, "live", b"shared", b"mine")
    dead = make_manifest(store, "dead", b"shared", b"yours")
    (store.folder / "tmp" / "orphan").write_bytes(b"half a unit")
    before = store.disk_bytes()
    freed = store.gc([live])
    assert freed > PAGE
    assert store.disk_bytes() == before - freed
    assert store.lookup("live") == live
    assert store.lookup("dead") is None
    assert not store.path(dead.units[1]).exists()
    assert list((store.folder / "tmp").iterdir()) == []
    assert store.gc([live]) == 0


def test_gc_is_refused_while_the_store_is_held(store: UnitStore) -> None:
    make_manifest(store, "key", b"one")
    with store.in_use(), UnitStore(store.folder).in_use(), pytest.raises(CoeError, match="is in use"):
        store.gc([])
    assert store.gc([]) > 0


@pytest.mark.parametrize("call", ["fdatasync", "replace"])
def test_failed_write_leaves_nothing(store: UnitStore, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def fail(*_args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space left"):
        store.put(memoryview(b"x" * PAGE))
    assert store.disk_bytes() == 0


def test_a_manifest_with_wrong_bytes_is_returned_only_by_a_store_that_does_not_heal(
    store: UnitStore,
) -> None:
    manifest = make_manifest(store, "key", b"one", b"two")
    store.path(manifest.units[1]).write_bytes(b"x".ljust(PAGE, b"\0"))
    assert store.lookup("key") is None
    seeing = UnitStore(store.folder, heals=False)
    assert seeing.lookup("key") == manifest
    assert seeing.verify(manifest) == [manifest.units[1]]
    assert make_manifest(store, "key", b"one", b"two") == manifest
    assert store.lookup("key") == manifest


def test_a_unit_that_lost_its_seal_is_hashed_once_and_sealed(store: UnitStore, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = make_manifest(store, "key", b"one")
    os.utime(store.path(manifest.units[0]), (1, 1))
    assert store.lookup("key") == manifest
    monkeypatch.setattr("hashlib.file_digest", lambda *_: pytest.fail("a sealed unit was hashed"))
    assert store.lookup("key") == manifest
