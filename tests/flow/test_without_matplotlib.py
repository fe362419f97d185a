"""Every command that draws gives its figures without matplotlib, and says in one line how to get the picture."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from compositions import write_config
from score_tables import write_score_table

from coe.cli import main

ENGINE = ("--quick", "--no-transformers", "--batches", "1", "--prompts", "8", "--tokens", "2")
BENCHMARKS = {
    "engine": (*ENGINE, "-c", "{config}"),
    "switch": ("--runs", "1", "--experts", "2", "--sections", "-c", "{config}"),
    "policy": ("--requests", "20", "--experts", "5", "--seeds", "1"),
    "route": ("--calls", "2", "--tokens", "8"),
}
FILES = {"engine": "engine-float32", "switch": "switch", "policy": "policy", "route": "latency"}


@pytest.fixture(autouse=True)
def _no_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("matplotlib", "matplotlib.figure", "matplotlib.pyplot"):
        monkeypatch.setitem(sys.modules, module, None)


def check(captured: tuple[str, str], written: Path, picture: Path) -> None:
    """The JSON is in the file and on the last line; one line speaks of the picture, and there is none."""
    out, err = captured
    figures = json.loads(written.read_text())
    assert figures.items() <= json.loads(out.splitlines()[-1]).items()
    (line,) = (line for line in err.splitlines() if "matplotlib" in line)
    assert str(picture) in line
    assert "pip install 'coe-serve[bench]'" in line
    assert not picture.exists()


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_a_benchmark(benchmark: str, tmp_path: Path, llama_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config(tmp_path, {"general": llama_folder})
    words = [word.format(config=config) for word in BENCHMARKS[benchmark]]
    assert main(["bench", benchmark, *words, "--out", str(tmp_path / "out")]) == 0
    files = {file.name for file in (tmp_path / "out").iterdir()}
    assert files == {f"{FILES[benchmark]}.json"}
    name = FILES[benchmark]
    check(capsys.readouterr(), tmp_path / "out" / f"{name}.json", tmp_path / "out" / f"{name}.png")


@pytest.mark.parametrize("command", ["evaluate", "frontier"])
def test_a_command_of_the_router(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if command == "frontier":
        data = write_score_table(tmp_path / "scores.jsonl")
    else:
        data = tmp_path / "prompts.jsonl"
        data.write_text('{"prompt": "Solve 3x + 4 = 19 for x.", "category": "math"}')
    written, picture = tmp_path / "out.json", tmp_path / "out.png"
    assert main(["router", command, str(data), "--json", str(written), "--plot", str(picture)]) == 0
    check(capsys.readouterr(), written, picture)
