"""Encoders: vectors are the model's own, alone or in a batch, from wherever the model comes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_encoders import HIDDEN, TEXTS, write_model
from transformers import AutoModel, BertTokenizerFast

from router.encoding.bert import Bert
from router.encoding.encoder import Encoder, identity
from router.encoding.sentence_model import SentenceConfig


def whole_by_hand(folder: Path, text: str) -> NDArray[np.float32]:
    """The normalised mean of transformers' own states."""
    model = AutoModel.from_pretrained(folder).eval()
    tokens = BertTokenizerFast.from_pretrained(folder)(text, return_tensors="pt")
    with torch.no_grad():
        mean = model(input_ids=tokens["input_ids"]).last_hidden_state[0].mean(0)
    return (mean / mean.norm()).numpy()


@pytest.fixture
def without_int8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.encoding.bert.is_fast_here", lambda: False)


@pytest.mark.usefixtures("without_int8")
@pytest.mark.parametrize("is_bert", [True, False], ids=["our forward pass", "transformers' modules"])
def test_a_vector_is_the_normalised_mean_of_the_models_states(tmp_path: Path, is_bert: bool) -> None:
    folder = write_model(tmp_path / "model", is_bert=is_bert)
    encoder = Encoder(str(folder))
    assert isinstance(encoder._backbone.network, Bert) == is_bert
    for text in ("the quick brown fox", "a"):
        whole, head, tail = encoder.encode([text]).reshape(3, HIDDEN)
        np.testing.assert_allclose(whole, whole_by_hand(folder, text), atol=1e-5)
        np.testing.assert_allclose(head, whole, atol=1e-6)  # so short that head and tail are all of it
        np.testing.assert_allclose(tail, whole, atol=1e-6)


@pytest.mark.parametrize("is_int8", [True, False])
@pytest.mark.parametrize("is_bert", [True, False])
def test_alone_and_in_a_batch_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_bert: bool, is_int8: bool
) -> None:
    monkeypatch.setattr("router.encoding.bert.is_fast_here", lambda: is_int8)
    encoder = Encoder(str(write_model(tmp_path / "model", is_bert=is_bert)))
    alone = np.vstack([encoder.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(encoder.encode(TEXTS), alone, atol=1e-5)


def test_beginning_and_end_are_those_of_a_long_text(tmp_path: Path) -> None:
    encoder = Encoder(str(write_model(tmp_path / "model")))
    assert encoder.num_tokens("x " * 500) == 502
    assert encoder.num_tokens_read("x " * 500) == 64  # the model has no more positions
    one, other = encoder.encode(["a " * 200 + "z " * 200, "z " * 200 + "a " * 200]).reshape(2, 3, HIDDEN)
    assert not np.allclose(one[1], one[2], atol=1e-2)
    assert not np.allclose(one[1], other[1], atol=1e-2)


@pytest.mark.usefixtures("without_int8")
@pytest.mark.parametrize("mode", ["mean", "cls", "max", "lasttoken"])
def test_pooling_and_prompt_are_those_of_sentence_transformers(tmp_path: Path, mode: str) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    prompts = {"prompts": {"topic": "say "}, "default_prompt_name": "topic"}
    folder = write_model(tmp_path / "model", pooling={"pooling_mode": mode, "embedding_dimension": 32}, prompts=prompts)
    theirs = sentence_transformers.SentenceTransformer(str(folder), device="cpu").encode(TEXTS[:2])
    ours = Encoder(str(folder)).encode(TEXTS[:2])[:, :HIDDEN]
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_the_id_names_weights_and_use(tmp_path: Path) -> None:
    mean = Encoder(str(write_model(tmp_path / "mean" / "tiny"))).id
    cls = Encoder(str(write_model(tmp_path / "cls" / "tiny", pooling={"pooling_mode": "cls"}))).id
    again = Encoder(str(write_model(tmp_path / "again" / "tiny"))).id
    assert mean == again != cls


@pytest.mark.parametrize(
    ("config", "digest"),
    [
        (SentenceConfig(), "5a1a1f3b3abc12dd841c742272dc0d06f2c44ba68015e4b3842d1b6284055328"),
        (
            SentenceConfig("cls", "say ", 64, True),
            "2a9a49f019e2a32d066b0ef8294e918946c91f9d33b3e3c258762287bad59a97",
        ),
        (
            SentenceConfig(static_folder="0_StaticEmbedding"),
            "7a0aaf17d8f22de7e213e48df8faaacc11761e51b480c2703ae116c8ac0bc72c",
        ),
    ],
)
def test_the_ids_that_trained_routers_record_never_change(config: SentenceConfig, digest: str) -> None:
    """Renaming the class of a config would have changed them: they were made from its repr."""
    assert identity({"w": torch.arange(3.0)}, config) == digest


@pytest.mark.parametrize(("device", "message"), [("tpu9", "knows no such device"), ("cuda", "sees no CUDA device")])
def test_a_device_that_is_not_there_is_refused_by_name(device: str, message: str) -> None:
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ValueError, match=f"encoder device '{device}': torch {message}"):
        Encoder(device=device)


def test_a_vector_does_not_depend_on_its_batch() -> None:
    texts = ["short", "a somewhat longer prompt about rivers and their names " * 4, "word " * 3000, "SELECT 1;"]
    together = Encoder().encode(texts)
    alone = np.vstack([Encoder().encode([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_no_text_is_no_vector() -> None:
    encoder = Encoder()
    assert encoder.encode([]).shape == (0, encoder.num_dims)
