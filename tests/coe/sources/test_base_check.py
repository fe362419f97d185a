"""An adapter is refused on a base whose hub id names another model; what names cannot disprove only warns."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from configurations import read
from hub_cache import as_hub_cache
from odd_folders import edit

from coe.config.catalog import Catalog, load_catalog

MADE_FOR = "adapter_config.json"


def resolved(
    folder: Path, base: Path, lora: Path, *, made_for: str, known_as: str | None, extra: str = "", source: str = "base"
) -> Catalog:
    """Resolve an adapter made for `made_for` over a base whose config.json says `known_as`."""
    shutil.copytree(base, folder / "base")
    shutil.copytree(lora, folder / "lora")
    edit("config.json", _name_or_path=... if known_as is None else known_as)(folder / "base")
    edit(MADE_FOR, base_model_name_or_path=made_for)(folder / "lora")
    as_hub_cache(folder / "hub", "org/base-model", folder / "base")
    text = f'[experts.tuned]\nsource = "lora"\nbase = "{source}"\n{extra}'
    return load_catalog(read(folder, text).experts, hub_dir=folder / "hub")


OTHER_MODELS = [
    ("org/other-model", "org/base-model"),
    ("Qwen/Qwen2.5-0.5B-Instruct", "Qwen/Qwen2.5-0.5B"),
    ("meta-llama/Llama-2-7b-chat-hf", "meta-llama/Llama-2-7b-hf"),
]


@pytest.mark.parametrize(("made_for", "known_as"), OTHER_MODELS)
def test_two_hub_ids_of_different_models_are_refused_with_both_names(
    tmp_path: Path, llama_folder: Path, lora_folder: Path, made_for: str, known_as: str
) -> None:
    catalog = resolved(tmp_path, llama_folder, lora_folder, made_for=made_for, known_as=known_as)
    message = str(catalog.errors["tuned"])
    assert message.startswith("expert 'tuned': ")
    assert f"made for '{made_for}'" in message
    assert known_as in message
    assert 'base_check = "off"' in message


def test_a_base_on_the_hub_is_known_by_its_id(tmp_path: Path, llama_folder: Path, lora_folder: Path) -> None:
    names = {"made_for": "org/other-model", "known_as": None}
    catalog = resolved(tmp_path, llama_folder, lora_folder, **names, source="org/base-model")  # type: ignore[arg-type]
    assert "its base is 'org/base-model'" in str(catalog.errors["tuned"])


def test_a_folder_of_the_hubs_cache_is_known_by_its_id(tmp_path: Path, llama_folder: Path, lora_folder: Path) -> None:
    names = {"made_for": "org/other-model", "known_as": None}
    resolved(tmp_path, llama_folder, lora_folder, **names)  # type: ignore[arg-type]
    snapshot = next((tmp_path / "hub").glob("*/snapshots/*"))
    config = read(tmp_path, f'[experts.tuned]\nsource = "lora"\nbase = "{snapshot}"')
    assert "(org/base-model)" in str(load_catalog(config.experts).errors["tuned"])


def test_the_check_can_be_switched_off(tmp_path: Path, llama_folder: Path, lora_folder: Path) -> None:
    names = {"made_for": "org/other-model", "known_as": "org/base-model", "extra": 'base_check = "off"'}
    catalog = resolved(tmp_path, llama_folder, lora_folder, **names)  # type: ignore[arg-type]
    assert catalog.errors == {}


UNPROVEN = [
    ("mirror/Base-Model", "org/base-model"),
    ("unsloth/base-model-bnb-4bit", "org/base-model"),
    ("/home/somebody/base-model", "org/base-model"),
    ("../elsewhere", "org/base-model"),
    ("org/other-model", None),
    ("org/other-model", "/home/somebody/checkpoint"),
]


@pytest.mark.parametrize(("made_for", "known_as"), UNPROVEN)
def test_what_names_cannot_disprove_is_a_warning_with_both_names(
    tmp_path: Path,
    llama_folder: Path,
    lora_folder: Path,
    caplog: pytest.LogCaptureFixture,
    made_for: str,
    known_as: str | None,
) -> None:
    catalog = resolved(tmp_path, llama_folder, lora_folder, made_for=made_for, known_as=known_as)
    assert catalog.errors == {}
    assert f"made for '{made_for}' and is merged into '{tmp_path / 'base'}'" in caplog.text


@pytest.mark.parametrize("made_for", ["org/base-model", "Org/Base-Model", "../base", "anybody/Base"])
def test_its_own_base_is_neither_refused_nor_warned_of(
    tmp_path: Path, llama_folder: Path, lora_folder: Path, caplog: pytest.LogCaptureFixture, made_for: str
) -> None:
    catalog = resolved(tmp_path, llama_folder, lora_folder, made_for=made_for, known_as="org/base-model")
    assert catalog.errors == {}
    assert caplog.text == ""
