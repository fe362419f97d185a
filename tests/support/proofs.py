"""How much of a proof runs and from which seed; and `make prove`, which runs all in full and keeps what they found.

A proof is a file of tests in tests/flow. `make check` runs a sample of its cases; with COE_PROVE=full it runs all of
them. COE_PROVE_SEED is the seed of both. What a proof has to tell goes into pytest's `record_property`.

    python tests/support/proofs.py [name ...]

runs the proofs named, by default all, each in a process of its own, and writes docs/benchmarks/proofs/<name>.json and
the page beside it. A proof that has passed on the same commit with the same seed is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from xml.etree import ElementTree

__all__ = ["chance_of", "chosen", "first_case", "is_full", "num_cases", "seed"]

CaseT = TypeVar("CaseT")

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "benchmarks" / "proofs"
PROVED = ("coe", "router", "server", "tests", "pyproject.toml")  # what a proof's result depends on
TIMEOUT_S = 4 * 3600


def is_full() -> bool:
    return os.environ.get("COE_PROVE") == "full"


def num_cases(*, sample: int, full: int) -> int:
    """Return how many cases a proof runs; COE_FUZZ_CASES replaces both."""
    return int(os.environ.get("COE_FUZZ_CASES", full if is_full() else sample))


def first_case() -> int:
    """Return the first of a fuzzer's cases, which are numbered: another seed has none of this one's."""
    return seed() * 1_000_000


def seed() -> int:
    return int(os.environ.get("COE_PROVE_SEED", "0"))


def chance_of(name: str) -> random.Random:
    """Return the randomness of one case, which is the same whatever other cases there are."""
    return random.Random(f"{seed()}/{name}")


def chosen(cases: Iterable[CaseT], *, sample: int, name: Callable[[CaseT], str]) -> list[CaseT]:
    """Return the cases to run, those with the lowest number drawn for their name; COE_PROVE_ONLY replaces them by those
    in whose name it stands."""
    if only := os.environ.get("COE_PROVE_ONLY"):
        return [case for case in cases if only in name(case)]
    ordered = sorted(cases, key=lambda case: chance_of(name(case)).random())
    return ordered[: num_cases(sample=sample, full=len(ordered))]


class Proof(NamedTuple):
    """A file of tests in tests/flow, and what it shows."""

    name: str
    file: str
    shows: str

    @property
    def json_file(self) -> Path:
        return FOLDER / f"{self.name}.json"

    def environment(self) -> dict[str, str]:
        return {**os.environ, "COE_PROVE": "full", "COE_PROVE_SEED": str(seed()), "PYTHONPATH": str(ROOT)}


PROOFS = (
    Proof("folder_fuzz", "test_folder_fuzz.py", "a damaged expert is refused by name, the others answer"),
    Proof("http_fuzz", "test_http_fuzz.py", "whatever is sent is answered, never with a 5xx"),
    Proof(
        "fault_at_every_seam",
        "test_fault_at_every_seam.py",
        "one exception in each public method, under load: every request is answered once, readiness tells the truth",
    ),
    Proof("real_processes", "test_real_processes.py", "after SIGKILL a clean restart serves and `verify` is clean"),
    Proof("soak", "test_soak.py", "each request is answered exactly once, and nothing is left behind"),
)


class Run(NamedTuple):
    """What pytest said of a proof. `figures` are the properties that its tests recorded."""

    num_tests: int
    failed: tuple[str, ...]
    figures: dict[str, Any]


def commit() -> str:
    """Return the last commit that changed what is proved, with a + where files differ from it."""
    last = _git("log", "-1", "--format=%h", "--", *PROVED)
    return last + ("+" if _git("status", "--porcelain", "--", *PROVED) else "")


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def is_done(proof: Proof) -> bool:
    if not proof.json_file.is_file():
        return False
    kept = json.loads(proof.json_file.read_text())
    return kept["passed"] and (kept["commit"], kept["seed"]) == (commit(), seed()) and not kept["commit"].endswith("+")


def run(proof: Proof) -> bool:
    """Run a proof in full and write what it found; returns whether it passed."""
    from coe.machine.record import this_machine

    started_s = time.monotonic()
    found = run_tests(proof)
    record = {
        "proof": proof.name,
        "shows": proof.shows,
        "passed": found.num_tests > 0 and not found.failed,
        "seed": seed(),
        "commit": commit(),
        "num_tests": found.num_tests,
        "failed": found.failed,
        "took_s": round(time.monotonic() - started_s, 1),
        "figures": found.figures,
        "hardware": asdict(this_machine()),
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    proof.json_file.write_text(json.dumps(record, indent=1) + "\n")
    return bool(record["passed"])


def run_tests(proof: Proof) -> Run:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        words = [
            f"tests/flow/{proof.file}",
            f"--junitxml={report}",
            f"--timeout={TIMEOUT_S}",
            "-q",
            "-o",
            "junit_family=xunit1",
        ]
        subprocess.run([sys.executable, "-m", "pytest", *words], cwd=ROOT, env=proof.environment(), check=False)
        cases = list(ElementTree.parse(report).iter("testcase")) if report.is_file() else []
    cases = [case for case in cases if case.find("skipped") is None]  # what did not run proves nothing
    failed = tuple(case.get("name", "") for case in cases if case.find("failure") is not None)
    broken = tuple(case.get("name", "") for case in cases if case.find("error") is not None)
    return Run(len(cases), failed + broken, _figures(cases))


def _figures(cases: Iterable[ElementTree.Element]) -> dict[str, Any]:
    """Return the properties by name; numbers that several tests recorded are added up."""
    figures: dict[str, Any] = {}
    for each in (found for case in cases for found in case.iter("property")):
        name, value = each.get("name", ""), _value(each.get("value", ""))
        figures[name] = figures[name] + value if name in figures and isinstance(value, int) else value
    return figures


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def write_page() -> None:
    """Write a page over all proofs that have been run."""
    records = [json.loads(proof.json_file.read_text()) for proof in PROOFS if proof.json_file.is_file()]
    rows = [
        f"| [{each['proof']}]({each['proof']}.json) | {each['shows']} | {'yes' if each['passed'] else '**no**'} | "
        f"{_shown(each['figures'])} | {each['took_s'] / 60:.0f} min | {each['seed']} | {each['commit']} |"
        for each in records
    ]
    cpus = sorted({f"{each['hardware']['cpu']} ({each['hardware']['num_cpus']} processors)" for each in records})
    (FOLDER / "README.md").write_text(
        "# Proofs\n\n"
        "`make prove` runs them in full and writes this page and the JSON files; `make check` runs a sample of each. "
        "The models are tiny and random, the processes, files and faults real. A proof that has passed on a commit "
        "with a seed is not run again; `COE_PROVE_SEED=7 make prove` takes other cases.\n\n"
        f"Made on: {'; '.join(cpus) or 'nothing yet'}.\n\n"
        "| proof | what it shows | holds | figures | took | seed | commit |\n|---|---|---|---|---|---|---|\n"
        + "".join(f"{row}\n" for row in rows)
    )


def _shown(figures: dict[str, Any]) -> str:
    """The figures that are numbers or words; lists are in the JSON alone."""
    flat = {name: value for each in figures.values() if isinstance(each, dict) for name, value in each.items()}
    shown = {name: value for name, value in figures.items() if not isinstance(value, list | dict)} | flat
    return ", ".join(f"{name.removeprefix('num_').replace('_', ' ')} {value}" for name, value in shown.items())


def main(names: Sequence[str]) -> int:
    chosen = [proof for proof in PROOFS if proof.name in names or not names]
    passed = []
    for proof in chosen:
        if is_done(proof):
            print(f"{proof.name}: done on {commit()} with seed {seed()}", flush=True)
            continue
        print(f"{proof.name}: commit {commit()}, seed {seed()}", flush=True)
        passed.append(run(proof))
    write_page()
    return 0 if all(passed) else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="run proofs in full")
    parser.add_argument("proof", nargs="*", choices=[[], *(proof.name for proof in PROOFS)])
    sys.exit(main(parser.parse_args().proof))
