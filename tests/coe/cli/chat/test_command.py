"""`coe chat` as people and scripts run it: over a pipe, and at a terminal of its own."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
from pathlib import Path

from compositions import write_config
from console import COE
from scripted_server import Reply, scripted_server
from server_live import Live
from waits import until

GREEDY = ("--max-tokens", "8", "--temperature", "0")


def piped(lines: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(COE), "chat", *words], input=lines, capture_output=True, text=True, check=False)


def test_lines_of_a_pipe_are_answered_on_stdout_and_all_else_is_on_stderr(live: Live) -> None:
    done = piped("hello\n\n/expert other\nhello\n/why\n/quit\nnever\n", "--url", f"{live.url}/v1", *GREEDY)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.strip()) > 8
    notes = done.stderr.splitlines()
    assert notes[0].startswith("general (general) · ")
    assert notes[1] == "other answers"
    assert notes[2].startswith("other (model) · ")
    assert "tokens at" in notes[2]
    assert notes[3:6] == ["expert    other", "category  -", "why       model"]
    assert "never" not in done.stdout + done.stderr


def test_what_is_not_answered_is_said_and_the_next_line_is(live: Live) -> None:
    done = piped(f"{'word ' * 3000}\n//hello\n", "--url", live.url, "--expert", "other", *GREEDY)
    assert done.returncode == 1
    assert "coe: " in done.stderr
    assert "other (model) · " in done.stderr
    assert done.stdout.strip()


def test_a_misspelt_expert_and_a_server_that_is_not_there_are_said_with_what_to_do(live: Live) -> None:
    done = piped("", "--url", live.url, "--expert", "othr")
    assert (done.returncode, "did you mean 'other'?" in done.stderr) == (2, True)
    done = piped("hello\n", "--url", "http://127.0.0.1:9")
    assert (done.returncode, "coe serve" in done.stderr) == (1, True)


def test_the_configuration_says_where_the_server_is(live: Live, tmp_path: Path, llama_folder: Path) -> None:
    port = live.url.rpartition(":")[2]
    config = write_config(tmp_path, {"general": llama_folder}, f'[server]\nhost = "0.0.0.0"\nport = {port}')
    assert piped("hello\n", str(config), *GREEDY).returncode == 0
    done = piped("hello\n", str(tmp_path / "gone.toml"), *GREEDY)
    assert (done.returncode, "gone.toml" in done.stderr) == (2, True)


class Typed:
    """A program at a terminal. `wait_for` reads on from what it has found before."""

    def __init__(self, terminal: int) -> None:
        self._terminal, self._unread = terminal, ""

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def wait_for(self, text: str) -> None:
        until(lambda: text in self._more(), f"the terminal shows {text!r}")
        self._unread = self._unread.partition(text)[2]

    def _more(self) -> str:
        if text_there(self._terminal):
            self._unread += os.read(self._terminal, 65536).decode(errors="replace")
        return self._unread


def text_there(terminal: int) -> bool:
    return bool(select.select([terminal], [], [], 0.05)[0])


# a session of its own, so that the terminal is its own, and Ctrl-C typed there reaches it and nobody else
START = """
import fcntl, os, signal, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGINT, signal.default_int_handler)
os.execv(sys.argv[1], sys.argv[1:])
"""
MODELS = Reply(200, json.dumps({"data": [{"id": "coe"}, {"id": "other"}]}))
CHUNK = {"choices": [{"index": 0, "delta": {"content": "Once upon"}, "finish_reason": None}]}
ENDLESS = Reply(200, f"data: {json.dumps(CHUNK)}\n\n", {"content-type": "text/event-stream"}, hangs=True)


def test_ctrl_c_stops_the_answer_and_not_the_program(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COE_CACHE": str(tmp_path), "TERM": "dumb"}
    with scripted_server([MODELS, ENDLESS]) as server:
        words = [sys.executable, "-c", START, str(COE), "chat", "--url", server.url, "--expert", "other"]
        with subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
            terminal = Typed(ours)
            try:
                terminal.wait_for("other answers")
                terminal.wait_for("> ")
                terminal.type("/system Be brief.\n")
                terminal.wait_for("the system prompt is set")
                for number in range(2):
                    terminal.type(f"hello {number}\n")
                    terminal.wait_for("Once upon")
                    terminal.type("\x03")
                    terminal.wait_for("stopped")
                terminal.wait_for("> ")
                terminal.type("half a line\x03")
                terminal.wait_for("> ")
                terminal.type("/quit\n")
                until(lambda: process.poll() is not None, "it ends")
            finally:
                process.kill()
        asked = [json.loads(each.body) for each in server.asked[1:]]
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 0
    turns = [turn["content"] for turn in asked[1]["messages"]]
    assert turns == ["Be brief.", "hello 0", "Once upon", "hello 1"]
    history = tmp_path / "chat_history"
    assert history.read_text().splitlines()[0] == "/system Be brief."
    assert history.stat().st_mode & 0o777 == 0o600
