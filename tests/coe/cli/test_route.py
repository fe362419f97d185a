"""`coe route` explains the decision."""

from __future__ import annotations

from pathlib import Path

from compositions import write_config
from console import coe


def test_route_explains_the_decision(tmp_path: Path, llama_folder: Path, other_llama_folder: Path) -> None:
    rules = '[[router.rules]]\nkeyword = "invoice"\ncategory = "CODE"'
    file = str(write_config(tmp_path, {"general": llama_folder, "code": other_llama_folder}, rules))
    done = coe("route", "--explain", "Fix this bug in my Python code: it crashes on an empty list.", "-c", file)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if "weights" not in line]
    assert lines[0] == "expert    code"
    assert lines[3].startswith("because   category code at")
    assert sum(line.startswith(("   0.", "   1.")) for line in lines) == 14 + 5
    assert any(line.startswith("nearest   cosine") for line in lines)
    ruled = coe("route", "an invoice, please", "-c", file)
    assert "because   rule 1: keyword 'invoice', category code" in ruled.stdout
