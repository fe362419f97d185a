"""The record of the machine names processor, features, versions and commit, wherever it is made."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from coe.machine import record
from coe.machine.record import processor, this_machine

CPU_INFO = """processor\t: 0
model name\t: Made Up 9000: fast
flags\t\t: fpu avx2 avx512f avx512_vnni avx512_bf16 ssse3

processor\t: 1
model name\t: another
flags\t\t: fpu amx_int8
"""


def test_a_processor_is_known_by_its_name_and_the_features_that_arithmetic_depends_on(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(CPU_INFO)
    assert processor(tmp_path / "cpuinfo") == (
        "Made Up 9000: fast",
        ("avx2", "avx512f", "avx512_vnni", "avx512_bf16"),
    )
    name, features = processor(tmp_path / "absent")
    assert name
    assert features == ()


def test_the_record_is_plain_json_and_complete() -> None:
    record = json.loads(json.dumps(asdict(this_machine())))
    assert record["num_cpus"] > 0
    assert record["memory_bytes"] > 0
    assert all(record[name] for name in ("cpu", "python", "torch", "transformers", "numpy", "scipy", "scikit_learn"))


def test_outside_a_checkout_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "__file__", str(tmp_path / "record.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert record.commit() is None
    monkeypatch.setenv("PATH", "")
    assert record.commit() is None


def test_a_changed_tree_is_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-m", "one")
    monkeypatch.setattr(record, "__file__", str(tmp_path / "record.py"))
    clean = record.commit()
    assert clean
    (tmp_path / "a").write_text("2")
    assert record.commit() == f"{clean}+"


def test_importing_the_module_loads_no_torch() -> None:
    code = "import sys, coe.machine.record; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
