"""A store between processes and on disks that are full or read-only: what can be served is, the rest is named."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from compositions import ask, with_runtime, write_config
from console import coe

from coe.assembly.import_experts import imported_experts, stored_keys
from coe.config.read import load_config
from coe.errors import ConfigError, WeightsError
from coe.runtime import Runtime

ROOM_BYTES = 8 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of ROOM_BYTES; the test is skipped where none may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={ROOM_BYTES}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("no file system may be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def store_in(config: Path, folder: Path) -> Path:
    """The configuration with its store in another folder."""
    config.write_text(config.read_text().replace(f'dir = "{config.parent / "store"}"', f'dir = "{folder}"'))
    return config


def serves(config: Path, answering: str, refused: str, reason: str) -> None:
    """One expert answers, the other is refused by name with this reason."""

    async def work(runtime: Runtime) -> None:
        assert await ask(runtime, answering, "hello", 2)
        with pytest.raises(WeightsError, match=f"'{refused}'.*{reason}"):
            await ask(runtime, refused, "hello", 2)

    with_runtime(config, work)


def test_a_server_reloads_what_a_gc_of_others_found_in_use(
    tmp_path: Path, llama_folder: Path, other_llama_folder: Path, qwen2_folder: Path
) -> None:
    folders = {"llama": llama_folder, "other": other_llama_folder, "qwen": qwen2_folder}
    everything, mine, theirs = (
        store_in(write_config(tmp_path / name, {each: folders[each] for each in experts}), tmp_path / "store")
        for name, experts in (("all", ("llama", "other", "qwen")), ("mine", ("llama", "other")), ("theirs", ("llama",)))
        if not (tmp_path / name).mkdir()  # type: ignore[func-returns-value]
    )
    imported_experts(load_config(everything)).store.close()
    before = num_manifests(tmp_path / "store")

    async def work(runtime: Runtime) -> None:
        expected = await ask(runtime, "other", "hello", 8)
        freed = coe("experts", "gc", "-c", str(theirs))
        assert freed.returncode == 0, freed.stderr
        assert (before, num_manifests(tmp_path / "store")) == (3, 2)  # nobody runs qwen
        await runtime.operator.unload("other")
        assert await ask(runtime, "other", "hello", 8) == expected

    with_runtime(mine, work)
    store, keys = stored_keys(load_config(theirs))
    assert store.gc(keys.values()) > 0
    assert num_manifests(tmp_path / "store") == 1


def num_manifests(store: Path) -> int:
    return len(list((store / "manifests").iterdir()))


def test_a_full_disk_refuses_the_expert_that_does_not_fit(
    disk: Path, tmp_path: Path, llama_folder: Path, other_llama_folder: Path
) -> None:
    config = write_config(tmp_path, {"general": llama_folder})
    with_runtime(config, lambda runtime: ask(runtime, "general", "hello", 2))
    needed = sum(path.stat().st_size for path in (tmp_path / "store").rglob("*") if path.is_file())
    room = ROOM_BYTES - needed - needed // 2
    assert room > 0
    (disk / "others").write_bytes(bytes(room))
    both = store_in(write_config(tmp_path, {"general": llama_folder, "other": other_llama_folder}), disk / "store")
    serves(both, "general", "other", "No space left on device.*free space")
    assert num_manifests(disk / "store") == 1
    assert list((disk / "store" / "tmp").iterdir()) == []
    (disk / "others").unlink()  # with room again, the next start has both

    async def work(runtime: Runtime) -> None:
        assert await ask(runtime, "other", "hello", 2)

    with_runtime(both, work)


def test_a_write_that_fails_in_the_middle_leaves_what_was_there(
    tmp_path: Path, llama_folder: Path, other_llama_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_runtime(write_config(tmp_path, {"general": llama_folder}), lambda runtime: ask(runtime, "general", "hello", 2))
    before = sorted(path for path in (tmp_path / "store").glob("*/*/*"))
    sync, left = os.fdatasync, iter([True, True])

    def full(fd: int) -> None:
        if not next(left, False):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(fd)

    monkeypatch.setattr(os, "fdatasync", full)
    both = write_config(tmp_path, {"general": llama_folder, "other": other_llama_folder})
    serves(both, "general", "other", "No space left on device")
    assert sorted(path for path in (tmp_path / "store").glob("*/*/*")) == before
    assert list((tmp_path / "store" / "tmp").iterdir()) == []


def test_a_read_only_store_serves_what_is_in_it(
    disk: Path, tmp_path: Path, llama_folder: Path, other_llama_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = store_in(write_config(tmp_path, {"general": llama_folder}), disk / "store")
    expected = with_runtime(one, lambda runtime: ask(runtime, "general", "hello", 4))
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert with_runtime(one, lambda runtime: ask(runtime, "general", "hello", 4)) == expected
    both = write_config(tmp_path, {"general": llama_folder, "other": other_llama_folder})
    store_in(both, disk / "store")
    serves(both, "general", "other", "must be imported, and store .* can only be read")
    assert "can only be read and lacks: other" in caplog.text
    refused = coe("experts", "gc", "-c", str(both))
    assert (refused.returncode, refused.stderr.count("Traceback")) == (1, 0)
    assert "can only be read" in refused.stderr
    absent = store_in(write_config(tmp_path, {"general": other_llama_folder}), disk / "store")
    with pytest.raises(ConfigError, match=r"none of the 1 experts can be served\s.*must be imported"):
        with_runtime(absent, lambda runtime: ask(runtime, "general", "hello", 4))
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)


@pytest.mark.parametrize("command", [("serve", "--port", "0"), ("experts", "gc")])
def test_a_cache_folder_that_cannot_be_made_is_one_line(
    tmp_path: Path, llama_folder: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "file").write_text("not a folder")
    config = store_in(write_config(tmp_path, {"general": llama_folder}), tmp_path / "file" / "store")
    found = coe(*command, "-c", str(config))
    assert found.returncode == 2
    said = [line for line in found.stderr.splitlines() if line.startswith("coe: ")]
    assert len(said) == 1
    assert said[0].startswith(f"coe: [cache] dir = '{tmp_path}/file/store' cannot be made (")
    assert "Traceback" not in found.stderr


def test_in_place_needs_no_cache_folder(tmp_path: Path, llama_folder: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    config = store_in(write_config(tmp_path, {"general": llama_folder}), tmp_path / "file" / "store")
    config.write_text(config.read_text().replace("[cache]\n", '[cache]\nstore = "in-place"\n'))
    assert with_runtime(config, lambda runtime: ask(runtime, "general", "hello", 2))
