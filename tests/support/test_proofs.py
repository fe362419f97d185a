"""How many cases run, what is run again, and the page that is made of the results."""

from __future__ import annotations

import json
from pathlib import Path

import proofs
import pytest


@pytest.fixture
def proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> proofs.Proof:
    proof = proofs.Proof("one", "test_one.py", "that it holds")
    monkeypatch.setattr(proofs, "FOLDER", tmp_path)
    monkeypatch.setattr(proofs, "PROOFS", (proof,))
    monkeypatch.setattr(proofs, "commit", lambda: "abc")
    return proof


def write(proof: proofs.Proof, **changes: object) -> None:
    record = {
        "proof": "one",
        "shows": "that it holds",
        "passed": True,
        "seed": 0,
        "commit": "abc",
        "took_s": 90.0,
        "figures": {"num_cases": 7, "which": ["a"], "ends": {"said so": 2}},
        "hardware": {"cpu": "a processor", "num_cpus": 2},
    }
    proof.json_file.write_text(json.dumps(record | changes))


def test_a_sample_is_run_unless_all_or_a_number_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COE_PROVE", "COE_FUZZ_CASES"):
        monkeypatch.delenv(name, raising=False)
    assert proofs.num_cases(sample=3, full=50) == 3
    monkeypatch.setenv("COE_PROVE", "full")
    assert proofs.num_cases(sample=3, full=50) == 50
    monkeypatch.setenv("COE_FUZZ_CASES", "9")
    assert proofs.num_cases(sample=3, full=50) == 9


def test_a_case_stays_in_the_sample_whatever_others_come(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COE_PROVE", "COE_FUZZ_CASES", "COE_PROVE_ONLY"):
        monkeypatch.delenv(name, raising=False)
    few = proofs.chosen(range(100), sample=10, name=str)
    more = proofs.chosen(range(110), sample=10, name=str)
    assert len(few) == 10
    assert len(set(few) & set(more)) >= 7
    monkeypatch.setenv("COE_PROVE_SEED", "1")
    assert proofs.chosen(range(100), sample=10, name=str) != few
    monkeypatch.setenv("COE_PROVE_ONLY", "9")
    assert proofs.chosen(range(30), sample=10, name=str) == [9, 19, 29]


@pytest.mark.parametrize("change", [{"passed": False}, {"seed": 1}, {"commit": "abd"}])
def test_what_has_passed_on_this_commit_with_this_seed_is_not_run_again(
    proof: proofs.Proof, monkeypatch: pytest.MonkeyPatch, change: dict[str, object]
) -> None:
    monkeypatch.delenv("COE_PROVE_SEED", raising=False)
    assert not proofs.is_done(proof)
    write(proof)
    assert proofs.is_done(proof)
    write(proof, **change)
    assert not proofs.is_done(proof)


def test_files_that_differ_from_the_commit_are_proved_anew(
    proof: proofs.Proof, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proofs, "commit", lambda: "abc+")
    write(proof, commit="abc+")
    assert not proofs.is_done(proof)


def test_a_proof_runs_in_a_process_and_its_figures_and_failures_are_kept(
    proof: proofs.Proof, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tests = tmp_path / "tests" / "flow"
    tests.mkdir(parents=True)
    (tests / "test_one.py").write_text(
        "import os\n"
        "def test_good(record_property):\n    record_property('which', os.environ['COE_PROVE'])\n"
        "def test_bad(record_property):\n    record_property('num_cases', 3)\n    assert False\n"
        "def test_more(record_property):\n    record_property('num_cases', 4)\n"
        "def test_absent():\n    import pytest\n    pytest.skip('it is not here')\n"
    )
    monkeypatch.setattr(proofs, "ROOT", tmp_path)
    found = proofs.run_tests(proof)
    assert (found.num_tests, found.failed) == (3, ("test_bad",))
    assert found.figures == {"which": "full", "num_cases": 7}


def test_what_a_proof_found_is_written_with_the_machine(proof: proofs.Proof, monkeypatch: pytest.MonkeyPatch) -> None:
    for num_tests, failed, passed in ((1, (), True), (1, ("test_bad",), False), (0, (), False)):
        found = proofs.Run(num_tests, failed, {"num_cases": 7})
        monkeypatch.setattr(proofs, "run_tests", lambda _, found=found: found)
        assert proofs.run(proof) == passed
        record = json.loads(proof.json_file.read_text())
        assert (record["passed"], record["figures"]) == (passed, {"num_cases": 7})
        assert record["hardware"]["num_cpus"] > 0


def test_the_page_says_what_does_not_hold_and_shows_no_lists(proof: proofs.Proof, tmp_path: Path) -> None:
    write(proof, passed=False)
    proofs.write_page()
    page = (tmp_path / "README.md").read_text()
    assert "| that it holds | **no** | cases 7, said so 2 | 2 min | 0 | abc |" in page
    assert "a processor (2 processors)" in page
