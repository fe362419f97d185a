"""A folder that transformers cannot read is named; modules keep pieces apart and in order."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch
from tiny_encoders import write_model

from router.encoding.backbone import Modules
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


def test_modules_give_the_states_of_each_piece_of_each_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.encoding.backbone.BATCH_SIZE", 2)  # so that three pieces are two batches
    network = Encoder(str(write_model(tmp_path / "model", is_bert=False)))._backbone.network
    assert isinstance(network, Modules)
    texts = [[(2, 9, 5, 6, 7, 3), (2, 8, 3)], [(2, 8, 3), (2, 5, 6, 3)]]
    states = network.states(texts)
    assert [[len(piece) for piece in text] for text in states] == [[6, 3], [3, 4]]
    for row, pieces in zip(states, texts, strict=True):
        for found, piece in zip(row, pieces, strict=True):
            torch.testing.assert_close(found, network.states([[piece]])[0][0], atol=1e-5, rtol=0)
