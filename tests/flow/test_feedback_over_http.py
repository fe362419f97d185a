"""A router learns from what people said of a server's answers: served, asked, judged, downloaded, retrained."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from server_live import live_server, post
from version_folders import NOUNS, write_rows

from coe.assembly.router import build_router, category_experts
from coe.cli import main
from coe.config.read import load_config
from coe.types import Message, RouteQuery

CONFIG = """
[experts]
general = "{one}"
math = "{other}"
law = "{one}"
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
stickiness = 0.0
[telemetry]
keep_prompts = true
feedback_file = "feedback.jsonl"
"""


def test_a_router_learns_from_feedback_that_a_server_took(
    tmp_path: Path, llama_folder: Path, other_llama_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "coe.toml").write_text(CONFIG.format(one=llama_folder, other=other_llama_folder))
    rows = write_rows(tmp_path / "rows.jsonl", [("sum", "math"), ("sue", "math"), ("the lawyer of", "law")])
    router, cache = str(tmp_path / "my-router"), ["--cache", str(tmp_path / "vectors")]
    assert main(["router", "train", str(rows), "--out", router, "--kind", "linear", *cache]) == 0
    config = load_config(tmp_path / "coe.toml")
    experts = category_experts(config.router, config.names)
    assert experts == {"math": "math", "law": "law"}

    with live_server(config.file, build_router(config.router, config.names), category_experts=experts) as live:
        for at, noun in enumerate([*NOUNS, *(f"{noun}{noun}" for noun in NOUNS[:10])]):
            body = {"max_tokens": 1, "messages": [{"role": "user", "content": f"sue a {noun} for {at} coins"}]}
            answer = post(live, "/v1/chat/completions", body).json()
            assert answer["coe"]["expert"] == "math"
            said = {"request_id": answer["id"], "is_right": False, "expert": "law"}
            assert post(live, "/v1/feedback", said).json()["category"] == "law"
        decisions = httpx.get(f"{live.url}/admin/decisions?format=jsonl").text
    (tmp_path / "decisions.jsonl").write_text(decisions)

    kept = write_rows(tmp_path / "kept.jsonl", [("sum", "math"), ("the lawyer of", "law")])
    files = ["--decisions", str(tmp_path / "decisions.jsonl"), "--feedback", str(tmp_path / "feedback.jsonl")]
    assert main(["router", "retrain", router, str(kept), *files, "--serve", *cache]) == 0
    printed = capsys.readouterr().out
    assert "34 labels from feedback" in printed
    decided = build_router(config.router, config.names).route(
        [RouteQuery((Message("user", "sue a tulip for 7 coins"),))]
    )
    assert decided[0].expert == "law"
