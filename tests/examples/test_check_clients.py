"""The script that runs other people's clients: what an example needs, whose environment has it, and how it ended."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from compositions import write_config
from server_live import Live, live_server
from tool_experts import tool_expert
from tool_templates import TOOL_TEMPLATES

from examples.clients.check_clients import HERE, needs, npm_versions_in, run, versions_in

EXAMPLES = sorted(HERE.glob("with_*"))


@pytest.fixture(scope="module")
def tool_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("clients")
    expert = tool_expert(folder / "general", TOOL_TEMPLATES["qwen-3"])
    with live_server(write_config(folder, {"general": expert})) as server:
        yield server


def test_every_example_names_what_it_needs_in_its_head() -> None:
    found = {example.stem: needs(example) for example in EXAMPLES}
    assert found["with_openai"] == ["openai"]
    assert found["with_litellm_proxy"] == ["litellm", "openai"]
    assert all(found.values())
    assert found["with_openai_npm"] == ["openai", "zod"]
    requirements = "".join(file.read_text() for file in HERE.glob("requirements*.txt"))
    assert all(
        name in requirements
        for each in EXAMPLES
        if each.suffix == ".py"
        for name in found[each.stem]
        if name != "httpx"
    )
    npm = json.loads((HERE / "package.json").read_text())
    assert set(found["with_openai_npm"]) <= set(npm["dependencies"])


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


def test_an_example_for_node_runs_where_npm_installed_what_it_needs(tmp_path: Path) -> None:
    example = tmp_path / "with_nothing.mjs"
    example.write_text('// needs: nothing\nimport { said } from "nothing";\nconsole.log(said, process.env.COE_URL);\n')
    folder = tmp_path / "node"
    package = folder / "node_modules" / "nothing"
    package.mkdir(parents=True)
    assert npm_versions_in(folder, ["nothing"]) is None
    assert run(example, [], "http://box:1").state == run(example, [], "http://box:1", folder).state == "left out"
    (package / "package.json").write_text('{"version": "1.2.3", "type": "module", "exports": "./index.js"}')
    (package / "index.js").write_text('export const said = "here is";\n')
    assert npm_versions_in(folder, ["nothing"]) == {"nothing": "1.2.3"}
    if shutil.which("node") is None:
        pytest.skip("Node is not installed")
    result = run(example, [], "http://box:1/v1", folder)
    assert (result.state, result.said.strip()) == ("works", "here is http://box:1")


def test_examples_whose_packages_are_here_work_against_a_live_server(tool_server: Live) -> None:
    """Random weights do: calls and forms are of a grammar, and the other assertions compare answers with each other."""
    names = ["openai", "openai_tools", "anthropic"]
    command = [sys.executable, HERE / "check_clients.py", "--url", f"{tool_server.url}/v1", *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert [each["state"] for each in json.loads(done.stdout.splitlines()[-1]).values()] == ["works"] * len(names)
