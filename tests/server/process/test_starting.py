"""While experts are imported the port answers: it is healthy, not ready, and says how far it is."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from api_keys import bearer, write_keys
from compositions import write_config
from waits import until

from coe.config.schema import AccessConfig
from server.access.door import build_door
from server.process.serve import bind
from server.process.starting import Starting, answering

# an import that waits, in its second unit, until the file named by the first word is there
HELD = """
import pathlib, sys, time
from coe.cli import main
from coe.weights.store.unit_store import UnitStore

gate, put, count = pathlib.Path(sys.argv[1]), UnitStore.put, 0

def held(store, data):
    global count
    count += 1
    while count == 2 and not gate.exists():
        time.sleep(0.01)
    return put(store, data)

UnitStore.put = held
sys.exit(main(sys.argv[2:]))
"""


@contextmanager
def held_server(tmp_path: Path, experts: dict[str, Path]) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """`coe serve` in the middle of its import."""
    config = write_config(tmp_path, experts)
    words = [sys.executable, "-c", HELD, str(tmp_path / "gate"), "serve", "-c", str(config), "--port", "0"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as served:
        try:
            assert served.stderr is not None
            url = next(found[0] for line in served.stderr if (found := re.search(r"http://[\d.:]+", line)))
            with httpx.Client(base_url=url, timeout=60) as client:
                until(lambda: "importing" in client.get("/ready").json()["status"], "it imports")
                yield served, client
        finally:
            served.kill()


def test_the_port_answers_while_experts_are_imported_and_serves_them_after(
    tmp_path: Path, llama_folder: Path, other_llama_folder: Path
) -> None:
    experts = {"general": llama_folder, "odd": tmp_path / "odd", "other": other_llama_folder}
    (tmp_path / "odd").mkdir()
    with held_server(tmp_path, experts) as (served, client):
        assert client.get("/health").json() == {"status": "ok"}
        while "%" not in (status := client.get("/ready").json()["status"]):
            time.sleep(0.05)
        assert re.fullmatch(r"importing 2 of 3: general, \d+ %", status)
        assert client.get("/ready").status_code == 503
        body = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}
        refused = client.post("/v1/chat/completions", json=body)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert refused.json()["error"]["code"] == "starting"
        assert status in refused.json()["error"]["message"]
        (tmp_path / "gate").touch()
        assert served.stderr is not None
        line = next(line for line in served.stderr if "serving" in line)
        assert "serving 2 of 3 experts on http://" in line
        until(lambda: client.get("/ready").status_code == 200, "it is ready")
        assert client.post("/v1/chat/completions", json=body).json()["model"] == "general"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_an_import_at_once(tmp_path: Path, llama_folder: Path, signum: signal.Signals) -> None:
    with held_server(tmp_path, {"general": llama_folder}) as (served, _):
        served.send_signal(signum)
        assert served.wait(30) in (-signum, 130)
        assert list((tmp_path / "store" / "manifests").iterdir()) == []


def test_what_asks_between_the_two_servers_is_answered_by_the_second() -> None:
    """The socket is one, so that nobody is refused a connection in between."""
    listener = bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    for text in ("first", "second"):
        with answering(listener, build_door(AccessConfig(), "127.0.0.1", {})) as starting:
            starting.note(text, 0, 0)
            assert httpx.get(f"{url}/ready").json() == {"ready": False, "status": text}
    listener.close()


def test_while_it_starts_the_port_lets_in_whom_it_will_let_in_then(tmp_path: Path) -> None:
    """Progress names experts, and a foreign page or host is as foreign as later."""
    access = AccessConfig(keys=Path(write_keys(tmp_path, ours="").split('"')[1]))
    listener = bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with answering(listener, build_door(access, "127.0.0.1", {})) as starting, httpx.Client(base_url=url) as client:
        starting.note("importing 1 of 2: secret", 0, 0)
        assert client.get("/ready").json() == {"ready": False, "status": "starting"}
        assert client.get("/v1/models").status_code == 401
        assert client.get("/health").status_code == 200
        assert "<title>coe</title>" in client.get("/").text  # it says that the server is not ready yet
        assert client.get("/page/main.js").status_code == 200
        ours = client.get("/ready", headers=bearer("ours"))
        assert ours.json()["status"] == "importing 1 of 2: secret"
        assert ours.headers["x-request-id"]
    with answering(listener, build_door(AccessConfig(), "127.0.0.1", {})), httpx.Client(base_url=url) as client:
        assert client.get("/v1/models", headers={"host": "evil.example"}).status_code == 403
    listener.close()


def test_progress_is_said_in_percent_where_bytes_are_known() -> None:
    starting = Starting()
    assert starting.doing == "starting"
    starting.note("importing 3 of 12: code", 41, 100)
    assert starting.doing == "importing 3 of 12: code, 41 %"
    starting.note("importing 4 of 12: law", 0, 0)
    assert starting.doing == "importing 4 of 12: law"
