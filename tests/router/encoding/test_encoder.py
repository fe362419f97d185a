"""Encoders: vectors are the model's own, alone or in a batch, from wherever the model comes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_encoders import HIDDEN, TEXTS, write_model
from transformers import AutoModel, BertTokenizerFast

from router.encoding.encoder import Encoder, identity
from router.encoding.openvino_bert import ARITHMETICS, OpenVinoBert
from router.encoding.sentence_model import SentenceConfig


def whole_by_hand(folder: Path, text: str) -> NDArray[np.float32]:
    """The normalised mean of transformers' own states."""
    model = AutoModel.from_pretrained(folder).eval()
    tokens = BertTokenizerFast.from_pretrained(folder)(text, return_tensors="pt")
    with torch.no_grad():
        mean = model(input_ids=tokens["input_ids"]).last_hidden_state[0].mean(0)
    return (mean / mean.norm()).numpy()


@pytest.fixture
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.encoding.openvino_bert.arithmetic_here", lambda: "float32")


@pytest.mark.usefixtures("in_float32")
@pytest.mark.parametrize("is_bert", [True, False], ids=["OpenVINO", "transformers' modules"])
def test_a_vector_is_the_normalised_mean_of_the_models_states(tmp_path: Path, is_bert: bool) -> None:
    folder = write_model(tmp_path / "model", is_bert=is_bert)
    encoder = Encoder(str(folder))
    assert isinstance(encoder._backbone.network, OpenVinoBert) == is_bert
    for text in ("the quick brown fox", "a"):
        whole, head, tail = encoder.encode([text]).reshape(3, HIDDEN)
        np.testing.assert_allclose(whole, whole_by_hand(folder, text), atol=1e-5)
        assert whole.tolist() == head.tolist() == tail.tolist()  # so short that head and tail are all of it


def test_without_openvino_the_modules_give_the_same_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.encoding.openvino_bert.arithmetic_here", lambda: "float32")
    folder = str(write_model(tmp_path / "model"))
    fast = Encoder(folder)
    monkeypatch.setattr("router.encoding.backbone.is_installed", lambda: False)
    plain = Encoder(folder)
    assert (fast.id, plain.arithmetic) == (plain.id, "float32")
    np.testing.assert_allclose(fast.encode(TEXTS), plain.encode(TEXTS), atol=1e-5)


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize("is_bert", [True, False])
def test_alone_and_in_a_batch_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_bert: bool, arithmetic: str
) -> None:
    monkeypatch.setattr("router.encoding.openvino_bert.arithmetic_here", lambda: arithmetic)
    encoder = Encoder(str(write_model(tmp_path / "model", is_bert=is_bert)))
    alone = np.vstack([encoder.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(encoder.encode(TEXTS), alone, atol=1e-5)


def test_beginning_and_end_are_those_of_a_long_text(tmp_path: Path) -> None:
    encoder = Encoder(str(write_model(tmp_path / "model")))
    assert encoder.num_tokens("x " * 500) == 502
    assert encoder.num_tokens_read("x " * 500) == 64  # the model has no more positions
    both, first, last = encoder.encode(["a b\n\n" + "q " * 200 + "\n\ny z", "a b", "y z"]).reshape(3, 3, HIDDEN)
    np.testing.assert_allclose(both[1], first[0], atol=1e-2)
    np.testing.assert_allclose(both[2], last[0], atol=1e-2)
    assert not np.allclose(both[0], both[1], atol=1e-2)


@pytest.mark.usefixtures("in_float32")
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
        (SentenceConfig(), "f12b338cbd5eccc816dbea43026c901311315f73ed6c7aa3c46902a60c4ef303"),
        (
            SentenceConfig("cls", "say ", 64, True),
            "4c48987a5c4b8618cc212fa9a37548483d8f6458b68bf963bce3f40a35ab1c0b",
        ),
        (
            SentenceConfig(static_folder="0_StaticEmbedding"),
            "34bd2fbdd71f798537004f8bb256a92194811055c1e3414bcc2f04bd850f86be",
        ),
    ],
)
def test_the_ids_that_trained_routers_record_never_change(config: SentenceConfig, digest: str) -> None:
    """Renaming the class of a config would have changed them: they were made from its repr. A new cut does."""
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


@pytest.mark.parametrize(("is_there", "lines"), [(True, 0), (False, 1)])
def test_a_slow_encoder_says_what_to_install(
    is_there: bool, lines: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("router.encoding.encoder.is_installed", lambda: is_there)
    with caplog.at_level("INFO", "coe.router"):
        arithmetic = Encoder().arithmetic
    assert f"arithmetic={arithmetic} device=cpu" in caplog.text
    assert caplog.text.count("pip install 'coe-serve[cpu]'") == lines
