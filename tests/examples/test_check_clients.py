"""The script that runs other people's clients: what an example needs, whose environment has it, and how it ended."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from server_live import Live

from examples.clients.check_clients import HERE, needs, run, versions_in

EXAMPLES = sorted(HERE.glob("with_*.py"))


def test_every_example_names_what_it_needs_in_its_head() -> None:
    found = {example.stem: needs(example) for example in EXAMPLES}
    assert found["with_openai"] == ["openai"]
    assert found["with_litellm_proxy"] == ["litellm", "openai"]
    assert all(found.values())
    requirements = (HERE / "requirements.txt").read_text()
    assert all(name in requirements for packages in found.values() for name in packages if name != "httpx")


def test_versions_are_those_of_the_environment_and_a_package_that_is_absent_is_none() -> None:
    found = versions_in(sys.executable, ["httpx"])
    assert found is not None
    assert found["httpx"][0].isdigit()
    assert versions_in(sys.executable, ["httpx", "no-such-package-of-ours"]) is None


def test_an_example_says_how_it_ended(tmp_path: Path) -> None:
    example = tmp_path / "with_nothing.py"
    head = '# /// script\n# dependencies = ["httpx>=0"]\n# ///\n'
    example.write_text(f"{head}import os\nprint(os.environ['COE_URL'])\n")
    result = run(example, [sys.executable], "http://box:1/v1/")
    assert (result.state, result.said.strip()) == ("works", "http://box:1")
    example.write_text(f"{head}raise SystemExit('no answer')\n")
    assert (run(example, [sys.executable], "").state, "no answer" in run(example, [sys.executable], "").said) == (
        "fails",
        True,
    )
    example.write_text(head.replace("httpx", "no-such-package-of-ours"))
    assert run(example, [sys.executable], "").state == "left out"
    example.write_text("print()\n")
    with pytest.raises(SystemExit, match="names what it needs"):
        needs(example)


def test_openais_example_works_against_a_live_server(live: Live) -> None:
    command = [sys.executable, HERE / "check_clients.py", "--url", f"{live.url}/v1", "openai"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout.splitlines()[-1])["openai"]["state"] == "works"
