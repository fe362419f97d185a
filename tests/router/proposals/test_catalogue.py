"""A catalogue comes as coe.toml, as rows or as a folder, and what is wrong with it is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from router.proposals.catalogue import read_catalogue


def model_folder(folder: Path, card: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "README.md").write_text(card)
    return folder


def test_a_configuration_gives_names_sources_descriptions_and_cards(tmp_path: Path) -> None:
    model_folder(tmp_path / "sql", "Writes queries for relational databases of every kind.")
    file = tmp_path / "coe.toml"
    file.write_text(
        '[experts]\nbase = "some/hub-id"\nsql = "./sql"\n[experts.law]\nsource = "x/y"\ndescription = "Contracts."\n'
        'pin = true\n[router]\ngeneral = "base"\n'
    )
    found = read_catalogue(file)
    assert found.general == "base"
    assert [entry.name for entry in found.candidates] == ["sql", "law"]
    assert [entry.sentence for entry in found.candidates] == [
        "Writes queries for relational databases of every kind.",
        "Contracts.",
    ]
    assert found.notes == ()


def test_rows_give_descriptions_and_tags(tmp_path: Path) -> None:
    rows = [{"name": "wine_bar", "tags": ["grapes"]}, {"name": "tea", "description": "Tea and tea rooms."}]
    (tmp_path / "c.json").write_text(json.dumps(rows))
    (tmp_path / "c.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = read_catalogue(tmp_path / "c.json")
    assert found == read_catalogue(tmp_path / "c.jsonl")
    assert [entry.sentence for entry in found.entries] == ["grapes", "Tea and tea rooms."]


def test_the_descriptions_that_training_reads_are_a_catalogue(tmp_path: Path) -> None:
    (tmp_path / "d.json").write_text('{"tea": "Tea and tea rooms.", "RedWine": ""}')
    assert [entry.sentence for entry in read_catalogue(tmp_path / "d.json").entries] == [
        "Tea and tea rooms.",
        "Red Wine",
    ]


def test_a_folder_of_models_is_a_catalogue(tmp_path: Path) -> None:
    model_folder(tmp_path / "m" / "tea", "---\ntags: [oolong]\n---\n")
    (tmp_path / "m" / "wine_bar").mkdir()
    assert [entry.sentence for entry in read_catalogue(tmp_path / "m").entries] == ["oolong", "wine bar"]


def test_a_card_that_cannot_be_read_is_told_and_passed_over(tmp_path: Path) -> None:
    model_folder(tmp_path / "m" / "tea", "---\ntags: [a\n---\n")
    found = read_catalogue(tmp_path / "m")
    assert found.entries[0].sentence == "tea"
    assert found.notes[0].startswith("card of 'tea' passed over: ")


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("c.json", "{", "not JSON"),
        ("c.json", "{}", "write a list"),
        ("c.json", '[{"name": 3}]', "c.json:1: name is 3"),
        ("c.json", '["a"]', "c.json:1: not an object"),
        ("c.json", '[{"name": "a"}, {"name": "a"}]', "'a' stands there twice"),
        ("c.json", '[{"name": "general"}]', "one or more beside 'general'"),
        ("c.json", '[{"name": "a", "description": 3}]', "expert 'a': description is 3"),
        ("c.jsonl", "{", "c.jsonl:1: not JSON"),
        ("c.toml", "[", "not TOML"),
        ("c.toml", "", r"no \[experts\]"),
        ("c.txt", "", "cannot read this"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, name: str, text: str, told: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=told):
        read_catalogue(tmp_path / name)


def test_a_path_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="a catalogue is"):
        read_catalogue(tmp_path / "none.toml")
