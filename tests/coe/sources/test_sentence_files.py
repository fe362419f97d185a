"""sentence-transformers' files: what is followed, and what is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_encoders import write_json

from coe.errors import SourceError
from coe.sources.sentence_files import SentenceUse, read_pair_use, read_scoring, read_sentence_use

TYPES = "sentence_transformers.models."
POOLING = {"type": f"{TYPES}Pooling", "path": "1_Pooling"}
TRANSFORMER = {"type": f"{TYPES}Transformer", "path": ""}
NORMALIZE = {"type": f"{TYPES}Normalize", "path": "2_Normalize"}


def write(folder: Path, **files: Any) -> Path:
    places = {"pooling": "1_Pooling/config.json", "use": "config_sentence_transformers.json"}
    places |= {"modules": "modules.json", "lengths": "sentence_bert_config.json"}
    for name, value in files.items():
        write_json(folder / places[name], value)
    return folder


def test_a_plain_folder_is_mean_pooled(tmp_path: Path) -> None:
    assert read_sentence_use("x", tmp_path) == SentenceUse()


def test_everything_that_is_prescribed_is_read(tmp_path: Path) -> None:
    write(
        tmp_path,
        modules=[TRANSFORMER, POOLING, NORMALIZE],
        pooling={"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False},
        use={"prompts": {"query": "q: ", "own": "o: "}, "default_prompt_name": "own"},
        lengths={"max_seq_length": 77, "do_lower_case": True},
    )
    prompts = {"query": "q: ", "own": "o: "}
    assert read_sentence_use("x", tmp_path) == SentenceUse("cls", True, prompts, "o: ", 77, True)
    assert read_pair_use("x", tmp_path).max_tokens == 77


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"modules": [TRANSFORMER, POOLING, {"type": "m.Dense", "path": "2"}]}, "module 'Dense' is not supported"),
        ({"modules": [TRANSFORMER]}, "no Pooling"),
        ({"modules": [{**TRANSFORMER, "path": "0_Transformer"}, POOLING]}, "a folder of its own"),
        ({"modules": [3]}, "not a list of modules"),
        ({"pooling": {"pooling_mode": ["mean", "max"]}}, "pooling"),
        ({"pooling": {"pooling_mode": "weightedmean"}}, "weightedmean"),
        ({"use": {"prompts": {"a": 3}}}, "not texts by name"),
        ({"use": {"default_prompt_name": "a"}}, "none of its prompts"),
        ({"use": {"prompts": {"a": "x"}}, "pooling": {"include_prompt": False}}, "left out of the pooling"),
        ({"lengths": {"max_seq_length": "long"}}, "max_seq_length = 'long'"),
    ],
)
def test_what_cannot_be_followed_is_refused(tmp_path: Path, files: dict[str, Any], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read_sentence_use("x", write(tmp_path, **files))


@pytest.mark.parametrize(
    ("config", "scoring"),
    [
        ({"id2label": {"0": "a"}}, "sigmoid"),
        ({"id2label": {"0": "a"}, "sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"}, "logit"),
        ({"id2label": {"0": "a"}, "sentence_transformers": {"activation_fn": "torch.nn.Sigmoid"}}, "sigmoid"),
        ({"num_labels": 1}, "sigmoid"),
        ({}, "second"),
    ],
)
def test_one_label_is_a_score_and_two_are_a_probability(config: dict[str, Any], scoring: str) -> None:
    assert read_scoring("x", config) == scoring


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"num_labels": 3}, "has 3 labels"),
        ({"num_labels": 1, "sbert_ce_default_activation_function": "my.Own"}, "activation Own is not supported"),
    ],
)
def test_other_classifiers_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read_scoring("x", config)
