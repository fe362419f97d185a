"""`coe bench engine` on a tiny model: every figure is there, every contender says the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from compositions import write_config

from coe.bench.contenders import Coe, Trace, TransformersGenerate, open_with_transformers
from coe.cli import main
from coe.config.read import load_config

PROMPTS = [[7, 8, 9, 10, 11], [40, 41, 42, 43, 44]]


@pytest.fixture(autouse=True)
def _same_threads():  # type: ignore[no-untyped-def]
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_contenders_say_the_same_and_time_every_token(tmp_path: Path, llama_folder: Path) -> None:
    ours = Coe.alone(load_config(write_config(tmp_path, {"general": llama_folder})), "general", 2)
    theirs = TransformersGenerate(open_with_transformers(llama_folder, "float32"), "float32")
    found, expected = ours.run(PROMPTS, 6), theirs.run(PROMPTS, 6)
    ours.close()
    assert found.token_ids == expected.token_ids
    for trace in (found, expected):
        assert all(len(times) == 6 and times == sorted(times) and times[0] > 0 for times in trace.token_s)


def test_decode_speed_counts_only_what_came_after_everybodys_first_token() -> None:
    trace = Trace([[1, 2, 3], [1, 2, 3]], [[1.0, 1.5, 3.0], [2.0, 3.0, 4.0]])
    assert trace.prefilled_s == 2.0
    assert trace.decode_tokens_per_s == 3 / 2.0


def test_command_writes_what_it_measured(
    tmp_path: Path, llama_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, {"general": llama_folder})
    words = ["--quick", "--no-transformers", "--batches", "1", "2", "--prompts", "8", "--out", str(tmp_path / "out")]
    assert main(["bench", "engine", "-c", str(config), *words]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result == json.loads((tmp_path / "out" / "engine-float32.json").read_text())
    assert [(cell["batch_size"], cell["prompt_tokens"]) for cell in result["cells"]] == [(1, 8), (2, 8)]
    assert all(cell["decode_tokens_per_s"] > 0 and cell["same_tokens"] == 1.0 for cell in result["cells"])
    assert 0 <= result["profile_batch_1"]["fraction_outside_matmuls"] < 1
    assert (tmp_path / "out" / "engine-float32.png").stat().st_size > 0


def test_unknown_expert_is_named(tmp_path: Path, llama_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config(tmp_path, {"general": llama_folder})
    assert main(["bench", "engine", "-c", str(config), "--expert", "sql"]) == 2
    assert "--expert sql: the experts are general" in capsys.readouterr().err
