"""`coe experts verify` and `gc` work on the store itself."""

from __future__ import annotations

from pathlib import Path

from compositions import write_config
from console import coe


def test_verify_finds_a_corrupt_unit_and_the_next_import_mends_it(tmp_path: Path, llama_folder: Path) -> None:
    config = str(write_config(tmp_path, {"general": llama_folder}))
    assert coe("experts", "verify", "-c", config).returncode == 0
    unit = max((tmp_path / "store" / "units").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    unit.write_bytes(bytes(unit.stat().st_size))
    found = coe("experts", "verify", "-c", config)
    assert found.returncode == 1
    assert "BAD" in found.stdout
    assert coe("experts", "verify", "-c", config).returncode == 0


def test_gc_frees_what_no_expert_needs(tmp_path: Path, llama_folder: Path, other_llama_folder: Path) -> None:
    both = str(write_config(tmp_path, {"general": llama_folder, "other": other_llama_folder}))
    assert coe("experts", "verify", "-c", both).returncode == 0
    before = sum(path.stat().st_size for path in (tmp_path / "store").rglob("*") if path.is_file())
    one = str(write_config(tmp_path, {"general": llama_folder}))
    assert coe("experts", "gc", "-c", one).returncode == 0
    after = sum(path.stat().st_size for path in (tmp_path / "store").rglob("*") if path.is_file())
    assert after < before
    assert coe("experts", "verify", "-c", one).returncode == 0
