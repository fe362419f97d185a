"""Ceilings are measured on the very files, and a GPU's link only where there is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from coe.bench.switch.ceilings import measure_ceilings


def test_every_ceiling_is_a_speed_and_the_files_stay_as_they_are(tmp_path: Path) -> None:
    files = [tmp_path / name for name in "ab"]
    for file in files:
        file.write_bytes(bytes(range(256)) * 4096)
    ceilings = measure_ceilings(files)
    assert min(ceilings.memory_copy, ceilings.disk_cached, ceilings.disk_direct) > 0
    assert ceilings.pinned_copy is None
    assert all(file.read_bytes() == bytes(range(256)) * 4096 for file in files)


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="gone"):
        measure_ceilings([tmp_path / "gone"])
