"""Whole texts are embedded as sentence-transformers embeds them, up to what the model takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from tiny_encoders import TEXTS, write_model

from router.encoding.encoder import Encoder
from router.encoding.whole_texts import WholeTexts

POOLING = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True}
PROMPTS = {"prompts": {"query": "ask ", "passage": "tell ", "own": "own "}, "default_prompt_name": "own"}


def embedded(texts: WholeTexts, *written: str, kind: str | None = None) -> np.ndarray:
    return texts.embed([texts.token_ids(text, kind) for text in written])  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["mean", "cls", "max"])
def test_vectors_are_those_of_sentence_transformers(tmp_path: Path, mode: str) -> None:
    pooling = {"word_embedding_dimension": 32, f"pooling_mode_{mode}_tokens": True}
    pooling = {name.replace("cls_tokens", "cls_token"): value for name, value in pooling.items()}
    folder = write_model(tmp_path / "model", is_bert=False, pooling=pooling)
    texts = Encoder(str(folder)).whole_texts()
    short = [text for text in TEXTS if len(text) < 60]
    theirs = SentenceTransformer(str(folder), device="cpu").encode(short)
    np.testing.assert_allclose(embedded(texts, *short), theirs, atol=1e-5)


def test_each_kind_of_text_has_its_own_prompt(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", is_bert=False, prompts=PROMPTS, pooling=POOLING)
    texts, theirs = Encoder(str(folder)).whole_texts(), SentenceTransformer(str(folder), device="cpu")
    np.testing.assert_allclose(embedded(texts, "fox", kind="query"), theirs.encode_query(["fox"]), atol=1e-5)
    np.testing.assert_allclose(
        embedded(texts, "fox", kind="document"), theirs.encode(["fox"], prompt_name="passage"), atol=1e-5
    )
    np.testing.assert_allclose(embedded(texts, "fox"), theirs.encode(["fox"]), atol=1e-5)


def test_a_text_is_read_up_to_what_the_model_takes_and_not_up_to_what_the_router_reads() -> None:
    encoder = Encoder()
    texts, text = encoder.whole_texts(), "the fox jumps over the lazy dog and runs. " * 40
    assert texts.max_tokens == 512
    assert texts.num_last == 1
    assert len(texts.token_ids(text)) == encoder.num_tokens(text) > 2 * encoder.num_tokens_read(text)


def test_e5_has_its_two_prompts() -> None:
    texts = Encoder().whole_texts()
    asked, told = (texts.token_ids("fox", kind) for kind in ("query", "document"))  # type: ignore[arg-type]
    assert texts.token_ids("fox") == asked == Encoder()._all_token_ids("fox")
    assert told != asked


def test_the_router_goes_on_with_a_network_of_its_own() -> None:
    """Vectors of both are equal, though each has an inference of its own."""
    encoder = Encoder()
    texts = encoder.whole_texts()
    mine = embedded(texts, "how do I sort a list?")
    np.testing.assert_allclose(encoder.encode(["how do I sort a list?"])[:, : texts.num_dims], mine, atol=1e-5)


def test_a_text_without_a_token_is_near_no_other(tmp_path: Path) -> None:
    texts = Encoder(str(write_model(tmp_path / "model", is_bert=False))).whole_texts()
    assert not texts.embed([[]]).any()
