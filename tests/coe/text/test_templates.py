"""Prompts to token ids: transformers' own templates, contexts, ends, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from coe.errors import ContextLengthError, ExpertError, InvalidRequestError, SourceError
from coe.text.loading import load_text
from coe.text.rendering import OverrunError
from coe.text.templates import ExpertText
from coe.text.turns import FOLDED, JOINED
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


def without_template(folder: Path) -> Path:
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    return folder


def test_expert_without_a_template_reads_the_turns_one_after_another_and_says_so(copy: Path) -> None:
    text = text_of(without_template(copy))
    assert text.encode_chat(CHAT) == text.encode_prompt("Be brief.\nWhat is the capital of France?\n")
    assert any("no chat template" in note for note in text.notes)


def test_adapter_whose_tokenizer_has_no_template_takes_its_bases_and_says_so(copy: Path, llama_folder: Path) -> None:
    text = text_of(without_template(copy), base_folder=str(llama_folder))
    assert text.encode_chat(CHAT) == text_of(llama_folder).encode_chat(CHAT)
    assert any("its base's is used" in note for note in text.notes)
    assert not text_of(llama_folder, base_folder=str(copy)).notes


def test_truncation_and_padding_in_tokenizer_json_are_not_obeyed(copy: Path, llama_folder: Path) -> None:
    """transformers obeys neither; coe cut each prompt to 12 tokens, or padded it to 64."""
    settings = json.loads((copy / "tokenizer.json").read_text())
    settings["truncation"] = {"direction": "Right", "max_length": 12, "strategy": "LongestFirst", "stride": 0}
    settings["padding"] = {
        "strategy": {"Fixed": 64},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "<|endoftext|>",
    }
    (copy / "tokenizer.json").write_text(json.dumps(settings))
    text = text_of(copy)
    assert text.encode_chat(CHAT) == text_of(llama_folder).encode_chat(CHAT)
    assert text.encode_prompt("Hi") == text_of(llama_folder).encode_prompt("Hi")


@pytest.mark.parametrize("is_special", [True, False])
def test_a_token_beyond_the_embedding_is_refused_and_told_at_start(copy: Path, is_special: bool) -> None:
    """It was an index error in the engine, which ended every stream of that expert."""
    tokenizer: Any = AutoTokenizer.from_pretrained(copy)
    tokenizer.add_tokens(["<tool>"], special_tokens=is_special)
    tokenizer.save_pretrained(copy)
    text = text_of(copy)
    assert any("512 ('<tool>')" in note for note in text.notes)
    with pytest.raises(InvalidRequestError, match=r"token 512 \('<tool>'\).*'tiny'.*0 to 511.*resize"):
        text.encode_prompt("please call <tool> now")
    with pytest.raises(InvalidRequestError, match="0 to 511"):
        text.check_bias({512: 1.0})
    chat = (Message("user", "please call <tool> now"),)
    if is_special:  # a user's control token is text
        assert max(text.encode_chat(chat)) < 512
    else:
        with pytest.raises(InvalidRequestError, match="token 512"):
            text.encode_chat(chat)


def test_an_end_token_beyond_the_embedding_is_none(llama_folder: Path) -> None:
    own = json.loads((llama_folder / "config.json").read_text())
    assert text_of(llama_folder, own, generation={"eos_token_id": [7, 600]}).eos_ids == {2, 7}


@pytest.mark.parametrize(
    "messages",
    [
        (Message("user", "a" * 1_000_000),),
        (Message("user", " " * 8_000_000),),
        (Message("user", "word " * 200_000),),
        (Message("user", "😀" * 250_000),),
        (Message("user", "<|im_end|>" * 100_000),),
        (Message("user", ""),) * 200_000,
        (Message("user", "a"),) * 513,
    ],
    ids=["letters", "blanks", "words", "emoji", "control tokens", "messages", "one message too many"],
)
def test_what_cannot_fit_is_refused_by_its_length(
    llama_folder: Path, messages: tuple[Message, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = text_of(llama_folder)
    monkeypatch.setattr("coe.text.templates.renderer", None)  # nothing is rendered
    with pytest.raises(ContextLengthError, match=r"512 tokens.*('tiny'.*messages|characters.*'tiny')") as caught:
        text.encode_chat(messages)
    assert "512" in str(caught.value)


def test_a_tokenizer_without_a_bound_refuses_a_long_text_by_its_beginning(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = json.loads((copy / "tokenizer.json").read_text())
    settings["normalizer"] = {"type": "Strip", "strip_left": True, "strip_right": True}
    (copy / "tokenizer.json").write_text(json.dumps(settings))
    text = text_of(copy)
    monkeypatch.setattr("coe.text.templates.renderer", None)
    said = r"maximum context length is 512 tokens.*1,000,000 characters.*first 4,096 are"
    with pytest.raises(ContextLengthError, match=said):
        text.encode_chat((Message("user", "a" * 1_000_000),))
    assert len(text.encode_prompt(" " * 1_000_000 + "a")) == 1  # it fits


def test_slow_template_costs_its_own_expert_an_error_that_names_it(llama_folder: Path) -> None:
    text = text_of(llama_folder, chat_template="{{ 'x' * 3000000000 }}")
    assert any("memory" in note for note in text.notes)
    with pytest.raises(OverrunError):
        text.read_chat(CHAT, is_quick=True)
    with pytest.raises(ExpertError, match=r"'tiny'.*memory.*chat_template"):
        text.read_chat(CHAT)


NO_SYSTEM = """{%- for message in messages %}
{%- if message.role == 'system' %}{{ raise_exception('no system') }}{% endif %}
{%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('must alternate') }}{% endif %}
[{{ message.role }}] {{ message.content }}
{%- endfor %}"""


@pytest.mark.parametrize(
    ("messages", "rendered", "changed"),
    [
        ("u:Hi", "[user] Hi", ()),
        ("s:Be brief. u:Hi", "[user] Be brief.\n\nHi", (FOLDED,)),
        ("u:Hi u:there", "[user] Hi\n\nthere", (JOINED,)),
        ("s:A s:B u:Hi u:there a:Yes", "[user] A\n\nB\n\nHi\n\nthere[assistant] Yes", (FOLDED, JOINED)),
        ("u:Hi a:Yes s:A", "[user] Hi[assistant] Yes[user] A", (FOLDED,)),
        ("s:A", "[user] A", (FOLDED,)),
    ],
)
def test_what_a_template_refuses_is_given_to_it_in_another_shape(
    llama_folder: Path, messages: str, rendered: str, changed: tuple[str, ...]
) -> None:
    text = text_of(llama_folder, chat_template=NO_SYSTEM)
    assert not text.notes
    read = text.read_chat(conversation(messages))
    assert text.tokenizer.decode(list(read.token_ids)).replace("]\n", "] ").replace("\n[", "[") == rendered
    assert read.changed == changed


def test_what_a_template_takes_is_not_changed(llama_folder: Path) -> None:
    text = text_of(llama_folder)
    messages = conversation("s:A s:B u:Hi u:there")
    assert not text.read_chat(messages).changed
    decoded = text.tokenizer.decode(list(text.encode_chat(messages)), skip_special_tokens=False)
    assert decoded.count("<|im_start|>") == 5


def conversation(written: str) -> list[Message]:
    roles = {"u": "user", "s": "system", "a": "assistant"}
    pairs = [re.fullmatch(r"(.):(.*)", turn) for turn in re.split(r" (?=.:)", written)]
    return [Message(roles[pair[1]], pair[2]) for pair in pairs if pair]


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
        with pytest.raises(ContextLengthError, match=f"maximum context length is 100 tokens.* has {num_tokens} tokens"):
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
