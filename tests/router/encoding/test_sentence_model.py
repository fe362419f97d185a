"""An encoder's files are found, and say how the model is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_encoders import write_model

from router.encoding.encoder import Encoder
from router.encoding.sentence_model import SentenceConfig, find_folder, read_sentence_config


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
