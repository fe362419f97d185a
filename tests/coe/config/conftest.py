"""A folder for configurations, with two sources in it."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two sources, a and b."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    return tmp_path
