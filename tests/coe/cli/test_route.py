"""`coe route` explains the decision."""

from __future__ import annotations

import json
from pathlib import Path

from compositions import write_config
from console import coe, imported_by
from server_live import Live

from coe import Client
from coe.client.answers import decision_from


def test_route_explains_the_decision(tmp_path: Path, llama_folder: Path, other_llama_folder: Path) -> None:
    rules = '[[router.rules]]\nkeyword = "invoice"\ncategory = "CODE"'
    file = str(write_config(tmp_path, {"general": llama_folder, "code": other_llama_folder}, rules))
    done = coe("route", "--explain", "Fix this bug in my Python code: it crashes on an empty list.", "-c", file)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if "weights" not in line]
    assert lines[0] == "expert    code"
    assert lines[3].startswith("because   category code at")
    assert sum(line.startswith(("   0.", "   1.")) for line in lines) == 14 + 5
    assert any(line.startswith("nearest   cosine") for line in lines)
    ruled = coe("route", "an invoice, please", "-c", file)
    assert "because   rule 1: keyword 'invoice', category code" in ruled.stdout


def test_a_decision_is_json_on_demand(tmp_path: Path, llama_folder: Path, other_llama_folder: Path) -> None:
    file = str(write_config(tmp_path, {"general": llama_folder, "code": other_llama_folder}))
    done = coe("route", "--json", "Fix this bug in my Python code: it crashes on an empty list.", "-c", file)
    assert done.returncode == 0, done.stderr
    decision = json.loads(done.stdout)
    assert (decision["expert"], decision["why"], next(iter(decision["probabilities"]))) == ("code", "category", "code")
    assert len(decision["nearest"]) == 5
    assert not {"text", "vectors"} & set(decision)


def test_a_running_server_is_asked_and_nothing_heavy_is_imported(live: Live) -> None:
    done = coe("route", "@other hello", "--url", f"{live.url}/v1")
    assert done.stdout.splitlines()[:3] == ["expert    other", "category  -", "why       mention"]
    named = json.loads(coe("route", "hello", "--model", "other", "--json", "--url", live.url).stdout)
    with Client(live.url) as client:
        assert decision_from(named) == client.route("hello", model="other")
    assert imported_by("route", "hello", "--url", live.url) == set()


def test_a_misspelt_expert_is_said_with_the_nearest(live: Live) -> None:
    done = coe("route", "hello", "--model", "othr", "--url", live.url)
    assert (done.returncode, "did you mean 'other'?" in done.stderr) == (1, True)
