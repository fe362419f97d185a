"""Vectors that survive the process: each text is encoded once, ever."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from router_fakes import FakeEncoder
from safetensors.numpy import save
from tiny_encoders import TEXTS, write_model

from router.encoding.cached_encoder import CachedEncoder
from router.encoding.encoder import Encoder


def test_stored_vectors_are_the_encoders_to_half_precision(tmp_path: Path) -> None:
    encoder = Encoder(str(write_model(tmp_path / "model")))
    stored = CachedEncoder(encoder, tmp_path)
    np.testing.assert_allclose(stored.encode(TEXTS), encoder.encode(TEXTS), atol=1e-3)
    again = CachedEncoder(encoder, tmp_path)
    np.testing.assert_array_equal(again.encode(TEXTS[::-1]), stored.encode(TEXTS)[::-1])
    assert again.num_dims == stored.encode([]).shape[1] == encoder.num_dims


@pytest.mark.parametrize("content", [b"", b"junk that is no safetensors file", save({"a": np.zeros(2)})])
def test_a_damaged_store_of_vectors_is_named(tmp_path: Path, content: bytes) -> None:
    encoder = Encoder(str(write_model(tmp_path / "model")))
    (tmp_path / f"{encoder.id}.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="not a cache of vectors"):
        CachedEncoder(encoder, tmp_path)


def test_a_cached_text_is_encoded_once_ever(tmp_path: Path) -> None:
    encoder = FakeEncoder()
    first = CachedEncoder(encoder, tmp_path).encode(["a", "b", "a"])
    again = CachedEncoder(encoder, tmp_path).encode(["c", "b", "a"])
    assert encoder.calls == [["a", "b"], ["c"]]
    np.testing.assert_array_equal(first[[1, 0]], again[1:])
    np.testing.assert_allclose(again, FakeEncoder().encode(["c", "b", "a"]), atol=1e-3)
