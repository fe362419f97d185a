"""The operator's commands over HTTP."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from api_keys import bearer, write_keys
from compositions import write_config
from server_live import Live, live_server, own_units, post


def test_operator_pins_and_unpins(live: Live) -> None:
    assert post(live, "/admin/experts/other/pin", {}).json()["expert"]["is_pinned"]
    assert not post(live, "/admin/experts/other/unpin", {}).json()["expert"]["is_pinned"]
    assert post(live, "/admin/experts/nobody/pin", {}).status_code == 404
    assert post(live, "/admin/experts/other/shake", {}).status_code == 400


def test_an_unknown_command_is_refused_with_those_there_are(live: Live) -> None:
    error = post(live, "/admin/experts/other/shake", {}).json()["error"]
    assert error["message"] == "there is no command 'shake'; there are load, unload, pin, unpin"
    assert error["param"] == "command"


def test_paths_are_for_operators_and_for_the_log(
    tmp_path: Path, llama_folder: Path, other_llama_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    access = write_keys(tmp_path, alice="", ops="admin = true")
    experts = {"general": llama_folder, "other": other_llama_folder}
    with live_server(write_config(tmp_path, experts, access)) as broken:
        for file in (tmp_path / "store" / "units").rglob("*"):
            if file.is_file() and file.name in own_units(broken, "other"):
                file.write_bytes(b"")
        body = {"model": "other", "max_tokens": 2, "messages": [{"role": "user", "content": "hello"}]}
        for asked in (body, {**body, "stream": True}, {**body, "messages": [{"role": "user", "content": "@other hi"}]}):
            answer = post(broken, "/v1/chat/completions", asked, **bearer("alice"))
            assert "'other'" in answer.text
            assert str(tmp_path) not in answer.text + str(answer.headers)
        told = post(broken, "/admin/experts/other/load", {}, **bearer("ops"))
        assert told.status_code == 503
        assert str(tmp_path) in told.json()["error"]["message"]
        assert str(tmp_path) in httpx.get(f"{broken.url}/admin/experts", headers=bearer("ops")).text
    failed = [record.getMessage() for record in caplog.records if record.getMessage().startswith("failed ")]
    assert len(failed) == 4
    assert all("code=expert_unavailable" in line and str(tmp_path) in line for line in failed)
