"""Encoders in front of another are known by its id, source and dimensions, and give its vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from router_fakes import FakeEncoder

from router.encoding.cached_encoder import CachedEncoder
from router.encoding.shown_encoder import ShownEncoder
from router.encoding.wrapped_encoder import WrappedEncoder
from router.versions.remembered import RememberedEncoder


def test_an_encoder_in_front_is_known_by_the_one_behind(tmp_path: Path) -> None:
    behind = FakeEncoder()
    cached = CachedEncoder(behind, tmp_path)
    texts = ["select red", "sum"]
    for front in (ShownEncoder(behind), RememberedEncoder(behind), cached, ShownEncoder(RememberedEncoder(cached))):
        assert isinstance(front, WrappedEncoder)
        assert (front.id, front.source, front.num_dims) == (behind.id, behind.source, behind.num_dims)
        np.testing.assert_allclose(front.encode(texts), behind.encode(texts), atol=1e-3)  # float16 in a folder
