"""Static embeddings: the mean of a text's rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from router_fakes import ask, no_follow_ups, toy_prompts

from router.encoding.encoder import Encoder
from router.training.train import train


def test_a_static_embedding_is_the_mean_of_its_tokens_rows() -> None:
    pytest.importorskip("wordllama", reason="the extra `static`")
    encoder = Encoder("wordllama")
    table, ids = encoder._backbone.network.weights["table"].numpy(), list(encoder._token_ids("the capital of France"))
    mean = table[ids].mean(axis=0)
    whole = encoder.encode(["the capital of France"])[0, : encoder.num_dims // 3]
    np.testing.assert_allclose(whole, mean / np.linalg.norm(mean), atol=1e-6)
    assert encoder.encode(["", "x"])[0].tolist() == [0.0] * encoder.num_dims


def test_training_takes_a_static_encoder_and_the_router_refuses_another(tmp_path: Path) -> None:
    pytest.importorskip("wordllama", reason="the extra `static`")
    from router.model.artefact import ArtefactError, load_artefact
    from router.router import Router

    train(toy_prompts(), Encoder("wordllama"), follow_up=no_follow_ups(256)).save(tmp_path)
    learned = load_artefact(tmp_path)
    assert learned.encoder_source == "wordllama"
    router = Router.load(tmp_path, mapping={"sql": "a"}, general="a", names={"a": "a"})
    assert router.route([ask("select red blue")])[0].category == "sql"
    with pytest.raises(ArtefactError, match="trained with encoder 'wordllama"):
        learned.check_encoder(Encoder().id)


def test_a_sentence_transformers_static_embedding_loads(tmp_path: Path) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    tokenizer = Tokenizer(WordLevel({"a": 0, "b": 1, "?": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = Whitespace()
    table = np.arange(12, dtype=np.float32).reshape(3, 4)
    static = StaticEmbedding(tokenizer, embedding_weights=table)
    sentence_transformers.SentenceTransformer(modules=[static], device="cpu").save(str(tmp_path / "static"))
    expected = table[[0, 1, 1]].mean(axis=0)
    vector = Encoder(str(tmp_path / "static")).encode(["a b b"])[0, :4]
    np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-6)
