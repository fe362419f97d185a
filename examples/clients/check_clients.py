"""Run every example of this folder against a live server and say which work, with versions.

    python examples/clients/check_clients.py --url http://127.0.0.1:8000 [--python PYTHON] … [--node FOLDER] [NAME …]

Each example is run by the first PYTHON whose environment has what it needs, by default this one, and one for Node in
the FOLDER where `npm install` has been done; an example whose packages nobody has is left out, and named. The last line
is one JSON object; the exit code is 1 where one failed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
SCRIPT = re.compile(r"^# /// script\n((?:#.*\n)+?)# ///$", re.MULTILINE)
NODE_NEEDS = re.compile(r"^// needs: (.+)$", re.MULTILINE)
NAME = re.compile(r"[A-Za-z0-9_.-]+")
LIMIT_S = 600
VERSIONS = """
import importlib.metadata, json, sys
print(json.dumps({name: importlib.metadata.version(name) for name in sys.argv[1:]}))
"""


class Result(NamedTuple):
    """What one example did: "works", "fails" or "left out"; `said` is what it printed."""

    state: str
    versions: dict[str, str]
    said: str


class Ready(NamedTuple):
    """How to run an example, and the versions of what it needs."""

    command: list[str]
    versions: dict[str, str]


def needs(example: Path) -> list[str]:
    """Return the packages that an example names in its head, without their versions: a line in one for Node, else PEP
    723."""
    text = example.read_text(encoding="utf-8")
    if example.suffix == ".mjs":
        if (line := NODE_NEEDS.search(text)) is None:
            raise SystemExit(f"{example}: no line `// needs: …` names what it needs; write one")
        return line[1].split(", ")
    found = SCRIPT.search(text)
    if found is None:
        raise SystemExit(f"{example}: no `# /// script` block names what it needs; write one")
    table: dict[str, Any] = tomllib.loads(re.sub(r"^# ?", "", found[1], flags=re.MULTILINE))
    return [match[0] for each in table["dependencies"] if (match := NAME.match(each))]


def versions_in(python: str, packages: list[str]) -> dict[str, str] | None:
    """Return the versions of the packages in an environment, None where it lacks one."""
    done = subprocess.run([python, "-c", VERSIONS, *packages], capture_output=True, text=True, check=False)
    found: dict[str, str] | None = json.loads(done.stdout) if done.returncode == 0 else None
    return found


def npm_versions_in(folder: Path, packages: list[str]) -> dict[str, str] | None:
    """Return the versions of the packages that npm installed in a folder, None where it lacks one."""
    files = {name: folder / "node_modules" / name / "package.json" for name in packages}
    if not all(file.exists() for file in files.values()):
        return None
    return {name: json.loads(file.read_text(encoding="utf-8"))["version"] for name, file in files.items()}


def ready(example: Path, pythons: list[str], node_folder: Path | None) -> Ready | None:
    """Return how to run an example, None where no environment has what it needs."""
    packages = needs(example)
    if example.suffix == ".mjs":
        versions = None if node_folder is None else npm_versions_in(node_folder, packages)
        if node_folder is None or versions is None:
            return None
        # Node looks for packages beside the file that imports them
        return Ready(["node", str(shutil.copy(example, node_folder))], versions)
    for python in pythons:
        if (versions := versions_in(python, packages)) is not None:
            return Ready([python, str(example)], versions)
    return None


def run(example: Path, pythons: list[str], url: str, node_folder: Path | None = None) -> Result:
    found = ready(example, pythons, node_folder)
    if found is None:
        return Result("left out", {}, f"needs {', '.join(needs(example))}")
    environment = {**os.environ, "COE_URL": url.rstrip("/").removesuffix("/v1")}
    try:
        done = subprocess.run(
            found.command, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT_S
        )
    except subprocess.TimeoutExpired:
        return Result("fails", found.versions, f"no end within {LIMIT_S} s")
    said = done.stdout if done.returncode == 0 else done.stdout + done.stderr[-3000:]
    return Result("works" if done.returncode == 0 else "fails", found.versions, said)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="a live server")
    parser.add_argument("--python", action="append", help="an interpreter to look in; may be repeated")
    parser.add_argument("--node", type=Path, help="a folder where `npm install` has been done")
    parser.add_argument("names", nargs="*", help="examples without with_ and their ending (default: all)")
    arguments = parser.parse_args()
    for python in arguments.python or ():
        if shutil.which(python) is None:
            parser.error(f"--python {python} is no interpreter; name one")
    found = {path.stem.removeprefix("with_"): path for path in sorted(HERE.glob("with_*"))}
    if unknown := set(arguments.names) - set(found):
        parser.error(f"no such example: {', '.join(sorted(unknown))}; there are {', '.join(found)}")
    results = {}
    for name in arguments.names or found:
        results[name] = run(found[name], arguments.python or [sys.executable], arguments.url, arguments.node)
        versions = ", ".join(f"{package} {version}" for package, version in results[name].versions.items())
        print(f"{name}: {results[name].state} ({versions or results[name].said})")
        if results[name].versions:
            print("".join(f"    {line}\n" for line in results[name].said.splitlines()), end="", flush=True)
    print(json.dumps({name: {"state": each.state, "versions": each.versions} for name, each in results.items()}))
    return 1 if any(each.state == "fails" for each in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
