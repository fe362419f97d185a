"""`coe answers` shows and clears the cache of a running server."""

from __future__ import annotations

from pathlib import Path

import pytest
from compositions import write_config
from server_live import Live, live_server

from coe.cli import main
from coe.client import Client


def test_the_cache_is_shown_and_cleared(tmp_path: Path, llama_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with live_server(write_config(tmp_path, {"a": llama_folder}, "[answer_cache]\nenabled = true")) as server:
        with Client(server.url) as client:
            answers = [client.chat("hello", temperature=0, max_tokens=3) for _ in range(2)]
        assert answers[0].cached is None
        assert answers[1].cached is not None
        assert (answers[1].cached.kind, answers[1].text) == ("exact", answers[0].text)
        assert main(["answers", "--url", server.url]) == 0
        shown = capsys.readouterr().out
        assert "answers   1 in " in shown
        assert "asked     2: 1 exact hits, 0 semantic, 1 misses" in shown
        assert main(["answers", "clear", "--url", server.url]) == 0
        assert capsys.readouterr().out == "1 answers forgotten\n"
        with Client(server.url) as client:
            assert client.answers().num_answers == 0


def test_a_cache_that_is_off_says_so(live: Live, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["answers", "--url", live.url]) == 0
    assert "the answer cache is off" in capsys.readouterr().out
