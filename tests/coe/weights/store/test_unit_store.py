"""The unit store: a file is whole or absent, equal bytes are one file, and nothing lives longer than it is needed."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from coe.errors import CoeError, ConfigError
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
    store.close()  # what a process has used is spared while it lives
    freed = store.gc(["live"])
    assert freed > PAGE
    assert store.disk_bytes() == before - freed
    assert store.lookup("live") == live
    assert store.lookup("dead") is None
    assert not store.path(dead.units[1]).exists()
    assert list((store.folder / "tmp").iterdir()) == []
    store.close()
    assert store.gc(["live"]) == 0


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


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "null",
        "[1]",
        '{"units": null}',
        '{"units": [{"name": "layer.0", "hash": "../../../etc", "size_bytes": 1, "tensors": []}]}',
    ],
)
def test_a_damaged_manifest_is_no_manifest(store: UnitStore, text: str) -> None:
    whole = make_manifest(store, "key", b"one")
    path = store.folder / "manifests" / "key.json"
    good = path.read_text()
    path.write_text(text)
    assert store.lookup("key") is None
    path.write_text(good.replace('"key"', '"other"'))
    assert store.lookup("key") is None
    assert make_manifest(store, "key", b"one") == whole == store.lookup("key")


def test_a_failed_import_leaves_nothing_that_it_alone_has_written(store: UnitStore) -> None:
    before = make_manifest(store, "before", b"shared")
    other = UnitStore(store.folder)
    page = b"both".ljust(PAGE, b"\0")
    kept: list[str] = []

    def fail() -> None:
        with store.all_or_nothing():
            for data in (b"shared", b"mine", b"both"):
                store.put(memoryview(data.ljust(PAGE, b"\0")))
            kept.append(other.put(memoryview(page)))
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert {path.name for path in store.folder.glob("units/*/*")} == {before.units[0].hash, *kept}
    assert store.lookup("before") == before


def test_a_failed_import_takes_away_no_unit_that_was_there_before(store: UnitStore) -> None:
    """One that has lost its seal, as a copied store's have, is written anew; another expert may need it."""
    before = make_manifest(store, "before", b"shared")
    os.utime(store.path(before.units[0]))

    def fail() -> None:
        with store.all_or_nothing():
            store.put(memoryview(b"shared".ljust(PAGE, b"\0")))
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert store.lookup("before") == before


# -- a folder that cannot be made, and a store that can only be read


def a_file(folder: Path) -> Path:
    folder.write_text("not a folder")
    return folder


BAD_FOLDERS = {
    "below a file": lambda folder: a_file(folder) / "store",
    "a file": a_file,
    "a subfolder is a file": lambda folder: a_file(folder / "units").parent,
    "a link in a circle": lambda folder: circle(folder / "link") / "store",
    "too long a name": lambda folder: folder / ("x" * 300),
    "no name": lambda folder: folder / "a\0b",
}


def circle(link: Path) -> Path:
    link.symlink_to(link)
    return link


@pytest.mark.parametrize("kind", BAD_FOLDERS)
def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "dir"
    if kind in ("a subfolder is a file", "a link in a circle"):
        folder.mkdir()
    with pytest.raises(ConfigError, match=r"^\[cache\] dir = .* cannot be made \(.*\); name a folder") as caught:
        UnitStore(BAD_FOLDERS[kind](folder))
    assert "\n" not in str(caught.value)


def read_only(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """What a read-only mount does to every call that writes below `folder`; root's calls too, unlike chmod."""
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT

    def refuses(name: str, writes: Callable[..., bool]) -> None:
        real = getattr(os, name)

        def call(path: object, *rest: object, **options: object) -> object:
            if str(path).startswith(str(folder)) and writes(*rest):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
            return real(path, *rest, **options)

        monkeypatch.setattr(os, name, call)

    for name in ("mkdir", "unlink", "utime", "replace", "rename"):
        refuses(name, lambda *_rest: True)
    refuses("open", lambda flags, *_rest: bool(flags & writing))


@pytest.mark.parametrize("says_so", [True, False])
def test_a_complete_store_is_served_read_only_and_without_locks(
    store: UnitStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, says_so: bool
) -> None:
    """Whether access(2) says that nothing can be written or only the attempt does."""
    manifest = make_manifest(store, "key", b"one", b"two")
    os.utime(store.path(manifest.units[0]), (1, 1))  # it has to be hashed, and cannot be sealed
    before = {path: path.stat().st_mtime_ns for path in store.folder.rglob("*")}
    read_only(monkeypatch, store.folder)
    if says_so:
        monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    caplog.set_level(logging.INFO, "coe")
    reader = UnitStore(store.folder)
    assert reader.is_read_only == says_so
    for _ in range(2):
        assert reader.lookup("key") == manifest
        assert reader.lookup("other") is None
    target = bytearray(PAGE)
    for read in reader.reads(manifest.units[0], memoryview(target)):
        read()
    reader.check(manifest.units[0], memoryview(target))
    reader.close()
    assert len(caplog.records) == 1
    assert {path: path.stat().st_mtime_ns for path in store.folder.rglob("*")} == before
    with pytest.raises(CoeError if says_so else OSError, match=r"(?i)read"):
        reader.gc(["key"])


def test_what_is_stored_can_be_read_by_whom_the_umask_lets(store: UnitStore) -> None:
    before = os.umask(0o022)
    try:
        manifest = make_manifest(store, "key", b"one")
    finally:
        os.umask(before)
    for path in (store.path(manifest.units[0]), store.folder / "manifests" / "key.json"):
        assert path.stat().st_mode & 0o777 == 0o644


# -- several processes


def test_gc_spares_what_another_needs_until_it_ends(store: UnitStore) -> None:
    mine = make_manifest(store, "mine", b"shared", b"mine")
    make_manifest(store, "theirs", b"shared", b"theirs")
    make_manifest(store, "nobody's", b"nobody's")
    store.close()
    server = UnitStore(store.folder)
    theirs = server.lookup("theirs")
    assert theirs is not None
    gc = UnitStore(store.folder)
    gc.gc(["mine"])
    assert (gc.lookup("mine"), gc.lookup("theirs"), gc.lookup("nobody's")) == (mine, theirs, None)
    del server  # as the end of its process does
    gc.close()
    UnitStore(store.folder).gc(["mine"])
    assert UnitStore(store.folder).lookup("theirs") is None
    assert UnitStore(store.folder).lookup("mine") == mine


def test_gc_in_the_middle_of_an_import_spares_what_it_has_written(store: UnitStore) -> None:
    first = store.put(memoryview(b"first".ljust(PAGE, b"\0")))
    assert UnitStore(store.folder).gc([]) == 0
    second = store.put(memoryview(b"second".ljust(PAGE, b"\0")))
    tensors = (TensorSpec("w", "F32", (4,), 0),)
    units = tuple(Unit(name, digest, PAGE, tensors) for name, digest in (("layer.0", first), ("layer.1", second)))
    store.save(Manifest("key", "somewhere", "float32", {}, {}, "tokenizer", units, {}))
    assert UnitStore(store.folder).gc([]) == 0
    assert store.lookup("key") is not None


HOLDER = """
import sys, pathlib
from coe.weights.store.unit_store import UnitStore
store = UnitStore(pathlib.Path(sys.argv[1]))
manifest = store.lookup(sys.argv[2])
print("registered", flush=True)
for line in sys.stdin:
    for unit in manifest.units:
        target = bytearray(unit.size_bytes)
        for read in store.reads(unit, memoryview(target)):
            read()
        store.check(unit, memoryview(target))
    print("read", flush=True)
"""


def test_gc_spares_two_live_processes_and_not_a_killed_one(store: UnitStore) -> None:
    for key in ("one", "two", "nobody's"):
        make_manifest(store, key, key.encode())
    store.close()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(store.folder), key],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for key in ("one", "two")
    ]
    try:
        assert [answer(process) for process in processes] == ["registered", "registered"]
        assert UnitStore(store.folder).gc([]) > PAGE
        assert {path.stem for path in (store.folder / "manifests").iterdir()} == {"one", "two"}
        assert [answer(process, "read\n") for process in processes] == ["read", "read"]
        processes[0].kill()
        processes[0].wait()
        assert UnitStore(store.folder).gc([]) > PAGE
        assert {path.stem for path in (store.folder / "manifests").iterdir()} == {"two"}
        assert len(list((store.folder / "holders").iterdir())) == 1
        assert answer(processes[1], "read\n") == "read"
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def answer(process: subprocess.Popen[str], line: str = "") -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line)
    process.stdin.flush()
    return process.stdout.readline().strip()


def test_a_process_that_cannot_register_says_so_once_and_goes_on(
    store: UnitStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    manifests = [make_manifest(store, key, key.encode()) for key in ("one", "two")]
    monkeypatch.setattr(os, "write", lambda _fd, _text: 3)  # a disk that is full
    server = UnitStore(store.folder)
    assert [server.lookup("one"), server.lookup("two")] == manifests
    assert [record.message for record in caplog.records] == [
        f"not registered in {store.folder / 'holders'} ([Errno 28] No space left on device): `coe experts gc` does not "
        "spare this process"
    ]
    monkeypatch.undo()
    store.close()
    assert server.lookup("one") == manifests[0]  # there is room again
    UnitStore(store.folder).gc([])
    assert (server.lookup("one"), server.lookup("two")) == (manifests[0], None)


def test_a_forked_child_that_ends_leaves_its_parent_registered(store: UnitStore) -> None:
    code = (
        "import os, sys, pathlib; from coe.weights.store.unit_store import UnitStore\n"
        "store = UnitStore(pathlib.Path(sys.argv[1])); store.lookup('key')\n"
        "if not (child := os.fork()): sys.exit()\n"
        "os.waitpid(child, 0); print(UnitStore(pathlib.Path(sys.argv[1])).gc([]))"
    )
    make_manifest(store, "key", b"one")
    store.close()
    found = subprocess.run([sys.executable, "-c", code, str(store.folder)], capture_output=True, text=True, check=True)
    assert found.stdout == "0\n"
    assert list((store.folder / "holders").iterdir()) == []
