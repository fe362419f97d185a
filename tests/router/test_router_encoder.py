"""Encoders: the numbers are the model's own, alone or in a batch, and its files say how it is used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import save
from transformers import AutoModel, BertConfig, BertModel, BertTokenizerFast, DistilBertConfig, DistilBertModel

from router.encoding.bert import Bert
from router.encoding.cached_encoder import CachedEncoder
from router.encoding.encoder import Encoder, identity
from router.encoding.int8 import Int8Linear
from router.encoding.sentence_model import SentenceConfig, find_folder, read_sentence_config
from router.training.train import train
from tests.router.test_router_learning import toy_prompts

HIDDEN = 32
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]
VOCABULARY = [*WORDS, *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")]
TEXTS = ["a", "the quick brown fox", "some words " * 30, "jumps over", "one two three four five six seven"]


def write_model(folder: Path, *, is_bert: bool = True, **usage: Any) -> Path:
    """A tiny encoder with the files that sentence-transformers writes; `usage` is what its configs say."""
    torch.manual_seed(0)
    sizes = {"vocab_size": len(VOCABULARY), "max_position_embeddings": 64}
    if is_bert:
        shape = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
        model: Any = BertModel(BertConfig(hidden_size=HIDDEN, **shape, **sizes))
    else:
        model = DistilBertModel(DistilBertConfig(dim=HIDDEN, n_layers=2, n_heads=2, hidden_dim=64, **sizes))
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY))
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=64).save_pretrained(folder)
    types = usage.pop("types", ("Transformer", "Pooling", "Normalize"))
    modules = [
        {
            "idx": at,
            "name": str(at),
            "path": "" if name == "Transformer" else f"{at}_{name}",
            "type": f"sentence_transformers.models.{name}",
        }
        for at, name in enumerate(types)
    ]
    write_json(folder / "modules.json", modules)
    write_json(folder / "1_Pooling" / "config.json", usage.get("pooling", {"pooling_mode_mean_tokens": True}))
    write_json(folder / "config_sentence_transformers.json", usage.get("prompts", {}))
    return folder


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value))


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
    encoder = Encoder(str(write_model(tmp_path / "model", is_bert=is_bert)), cache_size=0)
    alone = np.vstack([encoder.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(encoder.encode(TEXTS), alone, atol=1e-5)


def test_head_and_tail_are_those_of_a_long_text(tmp_path: Path) -> None:
    encoder = Encoder(str(write_model(tmp_path / "model")))
    assert encoder.num_tokens("x " * 500) == 502
    assert encoder.num_tokens_read("x " * 500) == 64  # the model has no more positions
    one, other = encoder.encode(["a " * 200 + "z " * 200, "z " * 200 + "a " * 200]).reshape(2, 3, HIDDEN)
    assert not np.allclose(one[1], one[2], atol=1e-2)
    assert not np.allclose(one[1], other[1], atol=1e-2)


def test_eight_bit_products_are_close_and_rows_do_not_touch_each_other() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(48, 32, generator=generator), torch.randn(48, generator=generator)
    x = torch.randn(20, 32, generator=generator)
    x[:, 3] += 12  # one large one-sided channel, as in every transformer
    x[7] = 0.5  # a row without any range
    linear = Int8Linear(weight, bias)
    exact = x @ weight.T + bias
    assert torch.nn.functional.cosine_similarity(linear(x), exact, dim=1).min() > 0.999
    torch.testing.assert_close(linear(x)[7], exact[7], atol=0.1, rtol=0.02)
    torch.testing.assert_close(linear(x)[4:5], linear(x[4:5]), atol=0, rtol=0)


def test_the_default_in_eight_bits_stays_close_to_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [
        "What are the symptoms of appendicitis?",
        "Write a SQL query that lists the ten largest customers.",
        "Summarise the following article in two sentences. " + "The council met on Tuesday to vote. " * 20,
    ]
    vectors = {}
    for is_int8 in (True, False):
        monkeypatch.setattr("router.encoding.bert.is_fast_here", lambda is_int8=is_int8: is_int8)
        vectors[is_int8] = Encoder().encode(texts).reshape(-1, 384)
    assert (vectors[True] * vectors[False]).sum(axis=1).min() > 0.995


@pytest.mark.usefixtures("without_int8")
@pytest.mark.parametrize("mode", ["mean", "cls", "max", "lasttoken"])
def test_pooling_and_prompt_are_those_of_sentence_transformers(tmp_path: Path, mode: str) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    prompts = {"prompts": {"topic": "say "}, "default_prompt_name": "topic"}
    folder = write_model(tmp_path / "model", pooling={"pooling_mode": mode, "embedding_dimension": 32}, prompts=prompts)
    theirs = sentence_transformers.SentenceTransformer(str(folder), device="cpu").encode(TEXTS[:2])
    ours = Encoder(str(folder)).encode(TEXTS[:2])[:, :HIDDEN]
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_older_pooling_flags_are_read(tmp_path: Path) -> None:
    flags = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    assert read_sentence_config(write_model(tmp_path / "model", pooling=flags)) == SentenceConfig(pooling="cls")


@pytest.mark.parametrize(
    ("usage", "message"),
    [
        ({"types": ("Transformer", "Pooling", "Dense")}, "module 'Dense' is not supported"),
        ({"pooling": {"pooling_mode": "weightedmean"}}, r"pooling \['weightedmean'\] is not supported"),
        ({"pooling": {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}}, "is not supported; one of"),
        ({"prompts": {"default_prompt_name": "x", "prompts": {"query": "q"}}}, "default_prompt_name 'x' is none of"),
        (
            {
                "pooling": {"pooling_mode": "mean", "include_prompt": False},
                "prompts": {"default_prompt_name": "q", "prompts": {"q": "q "}},
            },
            "its prompt is left out of the pooling",
        ),
    ],
)
def test_what_would_change_the_vectors_is_refused_by_name(tmp_path: Path, usage: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Encoder(str(write_model(tmp_path / "model", **usage)))


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


def test_a_hub_id_is_found_in_the_hubs_cache_and_so_is_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = tmp_path / "models--someone--tiny"
    write_model(cached / "snapshots" / "0123abcd")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("0123abcd")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    by_id, by_folder = Encoder("someone/tiny"), Encoder(str(cached))
    np.testing.assert_array_equal(by_id.encode(["abc"]), by_folder.encode(["abc"]))
    assert by_id.source == "someone/tiny"


@pytest.mark.parametrize("source", ["./nowhere", "/no/such/folder", "someone/never-cached", "not a valid id"])
def test_an_encoder_that_is_not_there_is_named(source: str) -> None:
    with pytest.raises(FileNotFoundError, match=f"encoder '{source}'"):
        find_folder(source)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="transformers cannot read"):
        Encoder(str(tmp_path))


@pytest.mark.parametrize(("device", "message"), [("tpu9", "knows no such device"), ("cuda", "sees no CUDA device")])
def test_a_device_that_is_not_there_is_refused_by_name(device: str, message: str) -> None:
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ValueError, match=f"encoder device '{device}': torch {message}"):
        Encoder(device=device)


# -- vectors that survive the process


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


# -- static embeddings


def test_a_static_embedding_is_the_mean_of_its_tokens_rows() -> None:
    pytest.importorskip("wordllama", reason="the extra `static`")
    encoder = Encoder("wordllama", cache_size=0)
    table, ids = encoder._backbone.weights["table"].numpy(), encoder._token_ids("the capital of France")
    mean = table[ids].mean(axis=0)
    whole = encoder.encode(["the capital of France"])[0, : encoder.num_dims // 3]
    np.testing.assert_allclose(whole, mean / np.linalg.norm(mean), atol=1e-6)
    assert encoder.encode(["", "x"])[0].tolist() == [0.0] * encoder.num_dims


def test_training_takes_a_static_encoder_and_the_router_refuses_another(tmp_path: Path) -> None:
    pytest.importorskip("wordllama", reason="the extra `static`")
    from router.model.artefact import ArtefactError, load_artefact
    from router.router import Router

    train(toy_prompts(), Encoder("wordllama")).save(tmp_path)
    learned = load_artefact(tmp_path)
    assert learned.encoder_source == "wordllama"
    router = Router.load(tmp_path, mapping={"sql": "a"}, general="a", names={"a": "a"})
    assert router.scores(["select red blue"]).probabilities.shape == (1, 2)
    with pytest.raises(ArtefactError, match="trained with encoder 'wordllama"):
        learned.check_encoder(Encoder().id)


def test_a_sentence_transformers_static_embedding_loads(tmp_path: Path) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    tokenizer = Tokenizer(WordLevel({"a": 0, "b": 1, "?": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = Whitespace()
    table = np.arange(12, dtype=np.float32).reshape(3, 4)
    static = sentence_transformers.models.StaticEmbedding(tokenizer, embedding_weights=table)
    sentence_transformers.SentenceTransformer(modules=[static], device="cpu").save(str(tmp_path / "static"))
    expected = table[[0, 1, 1]].mean(axis=0)
    vector = Encoder(str(tmp_path / "static")).encode(["a b b"])[0, :4]
    np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-6)
