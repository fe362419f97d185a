"""Experts are made only where the disk has room for them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from coe.bench import synthetic
from coe.bench.switch.experts import synthetic_experts
from coe.errors import ConfigError


def test_a_disk_without_room_for_synthetic_experts_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(ConfigError, match=r"1,000 are free.*--experts"):
        synthetic_experts("8b", tmp_path, None, with_checkpoint=True)
    assert not list((tmp_path / "units").iterdir())
