"""A router's life: trained, corrected by feedback, in shadow, promoted, rolled back. Only the experts are tiny."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from server_live import live_server
from version_folders import NOUNS, write_feedback, write_rows

from coe import Client
from coe.assembly.router import build_router
from coe.cli import main
from coe.config.read import load_config
from coe.types import Decision, Message, RouteQuery

WRONG = "sue a neighbour for ten coins"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, llama_folder: Path, other_llama_folder: Path) -> Path:
    """A configuration whose router knows math, sql and law, but takes "sue" for math."""
    folder = tmp_path_factory.mktemp("versions")
    (folder / "coe.toml").write_text(
        f"""
        [experts]
        general = "{llama_folder}"
        math = "{other_llama_folder}"
        law = "{llama_folder}"
        [cache]
        dir = "store"
        host_bytes = "64MB"
        [engine]
        device = "cpu"
        dtype = "float32"
        num_threads = 1
        [router]
        artefact = "my-router"
        min_confidence = 0.0
        """
    )
    words = [("sum", "math"), ("sue", "math"), ("select", "sql"), ("the lawyer of", "law")]
    rows = write_rows(folder / "rows.jsonl", words)
    argv = ["--out", str(folder / "my-router"), "--kind", "linear", "--cache", str(folder / "vectors")]
    assert main(["router", "train", str(rows), *argv]) == 0
    return folder


def decided(folder: Path) -> Decision:
    config = load_config(folder / "coe.toml")
    return build_router(config.router, config.names).route([RouteQuery((Message("user", WRONG),))])[0]


def test_feedback_is_learned_gated_tried_in_shadow_promoted_and_rolled_back(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    router, config_option = str(folder / "my-router"), ["--config", str(folder / "coe.toml")]
    assert (decided(folder).expert, decided(folder).shadow) == ("math", None)

    feedback = write_feedback(folder, "math", "law", "sue", [*NOUNS, *(f"{noun}{noun}" for noun in NOUNS[:10])])
    kept = write_rows(folder / "kept.jsonl", [("sum", "math"), ("select", "sql"), ("the lawyer of", "law")])
    # the wrong rows are not there, so nothing can stand in for the served version: feedback alone is held out
    assert main(["router", "retrain", router, str(kept), *feedback, "--cache", str(folder / "vectors")]) == 0
    printed = capsys.readouterr().out
    assert "34 rows held out" in printed
    assert "gate: passed" in printed
    assert "version 0002 is in shadow" in printed
    served = decided(folder)
    assert served.expert == "math"
    assert served.shadow is not None
    assert (served.shadow.version, served.shadow.expert) == ("0002", "law")
    assert main(["route", *config_option, "--explain", WRONG]) == 0
    assert "shadow    version 0002: law, law at " in capsys.readouterr().out

    assert main(["router", "promote", router]) == 0
    assert decided(folder).expert == "law"
    assert main(["router", "versions", router]) == 0
    states = [line.split()[3] for line in capsys.readouterr().out.splitlines()[-2:]]
    assert states == ["earlier", "served"]
    assert main(["router", "rollback", router]) == 0
    assert decided(folder).expert == "math"
    assert main(["router", "rollback", router]) == 2
    assert "nothing was served before version 0001" in capsys.readouterr().err


def test_a_server_answers_by_the_served_version_and_counts_the_shadow(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    more = write_rows(
        folder / "more.jsonl", [("sue", "law")], [f"{noun}{at}" for at in "xyz" for noun in "abcdefghijklmnop"]
    )
    argv = ["router", "retrain", str(folder / "my-router"), str(folder / "kept.jsonl"), str(more)]
    assert main([*argv, "--cache", str(folder / "vectors")]) == 0  # 48 rows that neither saw are enough
    config = load_config(folder / "coe.toml")
    with live_server(config.file, build_router(config.router, config.names)) as live, Client(live.url) as client:
        with caplog.at_level("INFO", "coe.shadow"):
            answer, explained = client.chat(WRONG, max_tokens=2), client.route(WRONG)
            same = client.chat("sum the rose", max_tokens=2)
        metrics = httpx.get(f"{live.url}/metrics").text
        raw = httpx.post(
            f"{live.url}/v1/chat/completions",
            json={"model": "coe", "max_tokens": 1, "messages": [{"role": "user", "content": WRONG}]},
        ).json()
    assert (answer.expert, same.expert) == ("math", "math")
    assert answer.decision.shadow is None
    assert "shadow" not in raw["coe"]
    assert explained.expert == "math"
    assert explained.shadow is not None
    assert explained.shadow.expert == "law"
    (line,) = caplog.messages
    assert "expert=math" in line
    assert "expert=law" in line
    assert "sue" not in line
    assert 'coe_shadow_decisions_total{outcome="different"} 1.0' in metrics
    assert 'coe_shadow_decisions_total{outcome="same"} 1.0' in metrics
