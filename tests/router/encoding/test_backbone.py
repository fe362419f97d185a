"""A folder that transformers cannot read is named."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
from tiny_encoders import write_model

from router.encoding.encoder import Encoder


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="transformers cannot read"):
        Encoder(str(tmp_path))


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="mappings are read from /proc")
def test_an_encoder_keeps_no_mapping_of_its_file(tmp_path: Path) -> None:
    """A mapped file counts as this process's memory, and one that is truncated kills the process."""
    folder = write_model(tmp_path / "encoder")
    encoder = Encoder(str(folder))
    gc.collect()
    assert str(folder) not in Path("/proc/self/maps").read_text()
    before = encoder.encode(["some words"])
    (folder / "model.safetensors").write_bytes(b"")
    assert (encoder.encode(["some words", "other words"])[:1] == before).all()
    assert encoder.matmul_shapes
