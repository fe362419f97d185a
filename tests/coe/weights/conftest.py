"""What several tests of the weight cache start from."""

from __future__ import annotations

from pathlib import Path

import pytest
from weight_caches import MakeCache, RealCache


@pytest.fixture(params=[None, 6], ids=["cpu", "emulated"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> MakeCache:
    return lambda experts, host=6: RealCache(tmp_path, experts, host=host, device=request.param)
