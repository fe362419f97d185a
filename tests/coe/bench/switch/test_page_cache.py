"""What the kernel holds of a file, before and after it is made to forget."""

from __future__ import annotations

from pathlib import Path

from coe.bench.switch.page_cache import cached_bytes, drop_from_page_cache


def test_mincore_says_what_the_page_cache_holds(tmp_path: Path) -> None:
    file = tmp_path / "unit"
    file.write_bytes(bytes(1 << 20))
    file.read_bytes()
    assert cached_bytes(file) == 1 << 20
    drop_from_page_cache([file])
    assert cached_bytes(file) == 0
