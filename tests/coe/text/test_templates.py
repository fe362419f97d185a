"""Prompts to token ids: transformers' own templates, contexts, ends, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from coe.errors import ContextLengthError, InvalidRequestError, SourceError
from coe.text.templates import ExpertText, load_text
from coe.types import Message

CHAT = (Message("system", "Be brief."), Message("user", "What is the capital of France?"))


def text_of(folder: Path, config: dict[str, Any] | None = None, **more: Any) -> ExpertText:
    own = json.loads((folder / "config.json").read_text()) if config is None else config
    return load_text("tiny", str(folder), own, more.pop("generation", {}), **more)


@pytest.fixture
def copy(tmp_path: Path, llama_folder: Path) -> Path:
    """A folder whose tokenizer a test may change."""
    return Path(shutil.copytree(llama_folder, tmp_path / "copy"))


def test_conversation_is_encoded_as_transformers_encodes_it(llama_folder: Path) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(llama_folder)
    turns = [{"role": message.role, "content": message.content} for message in CHAT]
    expected = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)["input_ids"]
    assert list(text_of(llama_folder).encode_chat(CHAT)) == expected


def test_plain_prompt_is_encoded_as_transformers_encodes_it(llama_folder: Path) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(llama_folder)
    assert list(text_of(llama_folder).encode_prompt("Once upon a time")) == tokenizer("Once upon a time")["input_ids"]


def test_template_of_the_configuration_comes_before_the_experts_own(llama_folder: Path) -> None:
    text = text_of(llama_folder, chat_template="{{ messages[-1]['content'] }}!")
    assert text.encode_chat(CHAT) == text.encode_prompt("What is the capital of France?!")


def test_expert_without_a_template_reads_the_turns_one_after_another(copy: Path) -> None:
    settings = json.loads((copy / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (copy / "tokenizer_config.json").write_text(json.dumps(settings))
    (copy / "chat_template.jinja").unlink(missing_ok=True)
    text = text_of(copy)
    assert text.encode_chat(CHAT) == text.encode_prompt("Be brief.\nWhat is the capital of France?\n")


def test_what_a_template_refuses_is_the_clients_mistake(llama_folder: Path) -> None:
    text = text_of(llama_folder, chat_template="{{ raise_exception('roles must alternate') }}")
    with pytest.raises(InvalidRequestError, match=r"'tiny'.*roles must alternate") as caught:
        text.encode_chat(CHAT)
    assert caught.value.param == "messages"


def test_lone_surrogates_and_other_oddities_are_encoded(llama_folder: Path) -> None:
    text = text_of(llama_folder)
    assert text.encode_prompt("a\ud800b") == text.encode_prompt("a?b")
    assert text.encode_prompt("\x00")


def test_empty_prompt_is_refused(llama_folder: Path) -> None:
    with pytest.raises(InvalidRequestError, match="empty"):
        text_of(llama_folder).encode_prompt("")


def test_room_is_what_the_context_leaves(llama_folder: Path) -> None:
    text = text_of(llama_folder, {"max_position_embeddings": 100})
    assert text.room(10, 20) == 20
    assert text.room(90, 20) == 10
    assert text.room(99, 20) == 1
    for num_tokens in (100, 5000):
        with pytest.raises(ContextLengthError, match=f"{num_tokens} tokens.*100 of context"):
            text.room(num_tokens, 20)


def test_context_is_found_under_each_of_its_names(llama_folder: Path) -> None:
    assert text_of(llama_folder, {"max_position_embeddings": 100}).context == 100
    assert text_of(llama_folder, {"n_positions": 200}).context == 200
    assert text_of(llama_folder, {}).context == 512  # the tokenizer's


@pytest.mark.parametrize(
    ("generation", "config", "expected"),
    [
        ({}, {}, {2}),
        ({}, {"eos_token_id": 7}, {2, 7}),
        ({"eos_token_id": 8}, {"eos_token_id": 7}, {2, 8}),
        ({"eos_token_id": [8, 9]}, {"eos_token_id": 7}, {2, 8, 9}),
    ],
)
def test_an_answer_ends_at_every_end_that_is_named(
    llama_folder: Path, generation: dict[str, Any], config: dict[str, Any], expected: set[int]
) -> None:
    assert text_of(llama_folder, config, generation=generation).eos_ids == expected


def test_experts_of_one_folder_share_its_tokenizer(llama_folder: Path) -> None:
    """Each once loaded its own, a third of a second apiece: the cache had the expert's name in its key."""
    one, other = (load_text(name, str(llama_folder), {}, {}) for name in ("one", "other"))
    assert one.tokenizer is other.tokenizer
    assert (one.expert, other.expert) == ("one", "other")


def test_folder_without_a_tokenizer_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(SourceError, match=r"(?s)'tiny'.*add tokenizer\.json"):
        text_of(tmp_path)


@pytest.mark.parametrize("content", ["", "{}", '{"version": "1.0", "model": 3}', "\udcff"])
def test_a_damaged_tokenizer_is_refused_by_name(copy: Path, content: str) -> None:
    """tokenizers raises a bare Exception, which stopped the whole composition."""
    (copy / "tokenizer.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(SourceError, match=r"(?s)'tiny'.*tokenizer\.json"):
        text_of(copy)
