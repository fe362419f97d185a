"""The operator's commands over HTTP."""

from __future__ import annotations

from server_live import Live, post


def test_operator_pins_and_unpins(live: Live) -> None:
    assert post(live, "/admin/experts/other/pin", {}).json()["expert"]["is_pinned"]
    assert not post(live, "/admin/experts/other/unpin", {}).json()["expert"]["is_pinned"]
    assert post(live, "/admin/experts/nobody/pin", {}).status_code == 404
    assert post(live, "/admin/experts/other/shake", {}).status_code == 400


def test_an_unknown_command_is_refused_with_those_there_are(live: Live) -> None:
    error = post(live, "/admin/experts/other/shake", {}).json()["error"]
    assert error["message"] == "there is no command 'shake'; there are load, unload, pin, unpin"
    assert error["param"] == "command"
