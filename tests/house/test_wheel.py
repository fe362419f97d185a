"""What is installed is what was committed: the wheel carries every data file of the packages, and their types."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from router.labelled import authored

ROOT = Path(__file__).parents[2]
PACKAGES = ("coe", "router", "server")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of this tree, built with the setuptools that is installed: no network is needed."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, source / name)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", out, source]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(out.glob("*.whl"))


def test_the_wheel_has_every_data_file_of_the_tree(wheel: Path) -> None:
    """a folder of authored prompts was missing: 4,447 prompts from a wheel where the checkout has 7,736."""
    in_tree = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = {name for name in archive.namelist() if name.split("/")[0] in PACKAGES}
    assert in_wheel == in_tree


def test_missing_prompts_are_an_error_that_names_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        monkeypatch.setattr(authored, "PLAIN_LINES", folder)
        with pytest.raises(FileNotFoundError, match=f"{folder} has no .*install it anew"):
            authored.authored_prompts()


USER = """
import asyncio
from collections.abc import Iterator

import coe
from coe import Answer, AsyncClient, Client, CoeError, Event, OverloadedError, ToolCall

tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}


def ask(url: str) -> str:
    with Client(f"{url}/v1", api_key="k", headers={"x-team": "blue"}, max_retries=3) as client:
        try:
            answer: Answer = client.chat("hello", temperature=0, tools=[tool], response_format={"type": "text"})
        except OverloadedError as error:
            waited: float | None = error.retry_after_s
            raise CoeError(f"{waited}") from error
        calls: tuple[ToolCall, ...] = answer.tool_calls
        with client.stream([{"role": "user", "content": "hello"}, answer.message], max_tokens=3) as stream:
            pieces: Iterator[str] = iter(stream)
            text = "".join(pieces) + stream.answer.reasoning
        vectors: tuple[tuple[float, ...], ...] = client.embed(["a", "b"], dimensions=8).vectors
        with client.watch(["load"]) as events:
            event: Event = next(iter(events))
        return f"{text}{len(calls)}{len(vectors)}{event.kind}{client.complete('x', echo=True).decision.because}"


async def ask_too(url: str) -> float:
    async with AsyncClient(url) as client, client.stream("hello") as stream:
        async for piece in stream:
            print(piece.upper())
        return (await client.chat("hello")).switch.first_token_s


print(coe.__version__)
asyncio.run(ask_too(ask("http://127.0.0.1:8000")))
"""
WRONG = "from coe import Client\n\nClient().chat('hello', temperature='hot')\n"


def test_types_reach_a_user_outside_the_repository(wheel: Path, tmp_path: Path) -> None:
    """In an environment that has the wheel, mypy --strict takes a user's file, and finds a wrong type in another."""
    venv.create(tmp_path / "env", symlinks=True)
    packages = next((tmp_path / "env").glob("lib/python*/site-packages"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    (packages / "others.pth").write_text(sysconfig.get_paths()["purelib"])  # httpx, after our own package
    said = {}
    for name, text in {"user.py": USER, "wrong.py": WRONG}.items():
        (tmp_path / name).write_text(text)
        words = ["--strict", "--config-file=", "--python-executable", tmp_path / "env" / "bin" / "python", name]
        command = [sys.executable, "-m", "mypy", *words]
        environment = {**os.environ, "PYTHONPATH": "", "MYPYPATH": ""}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        said[name] = done.stdout + done.stderr
    assert said["user.py"] == "Success: no issues found in 1 source file\n"
    assert 'Argument "temperature" to "chat" of "Client" has incompatible type "str"' in said["wrong.py"]
