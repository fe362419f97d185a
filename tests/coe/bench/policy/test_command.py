"""`coe bench policy`: medians of every workload at every queue, where they were made, and a picture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coe.bench.policy.command import QUEUES
from coe.cli import main


def test_the_command_writes_what_it_simulated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason="the extra `bench`")
    words = ["--requests", "40", "--experts", "5", "--seeds", "2", "--out", str(tmp_path)]
    assert main(["bench", "policy", *words]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result == json.loads((tmp_path / "policy.json").read_text())
    assert (result["seeds"], result["num_requests"]) == ([0, 1], 40)
    assert result["hardware"]["cpu"]
    for workload in result["workloads"]:
        assert [each["queue"] for each in workload["by_queue"]] == list(QUEUES)
        assert all(each["optimum_bytes"] <= each["value_bytes"] for each in workload["by_queue"])
    assert (tmp_path / "policy.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("words", [("--experts", "4"), ("--requests", "0"), ("--seeds", "0")])
def test_counts_that_nothing_can_be_simulated_with_are_refused(
    words: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["bench", "policy", *words])
    assert ended.value.code == 2
    assert f"argument {words[0]}: '{words[1]}' is no whole number of at least" in capsys.readouterr().err
