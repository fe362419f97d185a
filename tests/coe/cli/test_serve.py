"""`coe serve` answers until it is told to end, and says a taken port before it loads anything."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from pathlib import Path

import httpx
from compositions import write_config
from console import COE, coe
from waits import until


def test_it_serves_until_sigterm_and_ends_well(tmp_path: Path, llama_folder: Path) -> None:
    config = write_config(tmp_path, {"general": llama_folder})
    words = [str(COE), "serve", "-c", str(config), "--port", "0"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as served:
        assert served.stderr is not None
        try:
            url = next(found[0] for line in served.stderr if (found := re.search(r"http://[\d.:]+", line)))
            with httpx.Client(base_url=url, timeout=60) as client:
                until(lambda: client.get("/ready").status_code == 200, "it is ready")
                body = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}
                assert client.post("/v1/chat/completions", json=body).json()["model"] == "general"
        finally:
            served.send_signal(signal.SIGTERM)
        served.stderr.read()
    assert served.returncode in (0, -signal.SIGTERM)


def test_a_taken_port_is_said_with_what_to_do(tmp_path: Path, llama_folder: Path) -> None:
    config = write_config(tmp_path, {"general": llama_folder})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = coe("serve", "-c", str(config), "--port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert "choose another with --port" in done.stderr
    assert not (tmp_path / "store").exists()  # nothing was imported


def test_an_address_that_others_reach_is_refused_without_keys(tmp_path: Path, llama_folder: Path) -> None:
    config = write_config(tmp_path, {"general": llama_folder})
    done = coe("serve", "-c", str(config), "--host", "0.0.0.0", "--port", "0")
    assert done.returncode == 2
    assert "coe keys add" in done.stderr
    assert "--open" in done.stderr
    assert not (tmp_path / "store").exists()
