"""The fields of a row: every reader finds the prompt and the category under the names that tables use."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from router.labelled.fields import category_in, prompt_in
from router.labelled.prompts import read_prompts
from router.mapping_study.score_table import read_scores

DATA = Path(__file__).parents[4] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the shared tables are not on this machine")


@pytest.mark.parametrize("key", ["prompt", "question", "query", "text"])
def test_a_prompt_stands_under_any_of_its_names(key: str) -> None:
    assert prompt_in({key: "a", "options": ["x", "y"]}) == "a\nx\ny"


def test_the_last_user_turn_is_the_prompt_and_prompt_comes_first() -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    assert prompt_in({"messages": turns}) == prompt_in({"prompt": " ", "messages": json.dumps(turns)}) == "c"
    assert prompt_in({"messages": turns, "prompt": "p"}) == "p"


@pytest.mark.parametrize("key", ["category", "label", "task", "subject"])
def test_a_category_stands_under_any_of_its_names(key: str) -> None:
    assert category_in({key: " law "}) == "law"


def test_a_label_that_is_a_number_gives_way_to_a_name() -> None:
    assert category_in({"category": 3, "label": "law"}) == "law"
    with pytest.raises(ValueError, match=r"the category is not a name \(label 3\)"):
        category_in({"category": None, "label": 3})


@pytest.mark.parametrize("choices", ["(((" * 3000, "no list", {"text": ["no list"]}])
def test_options_that_are_no_list_are_taken_as_they_are(choices: object) -> None:
    assert prompt_in({"prompt": "a", "choices": choices}).startswith("a\n")


def test_the_readers_of_labelled_prompts_and_of_scores_agree(tmp_path: Path) -> None:
    row = {"question": "q", "options": ["x", "y"], "subject": "law", "scores": {"m": 1}}
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps(row))
    (prompt,), table = read_prompts(path).prompts, read_scores(path)
    assert ((prompt.text,), (prompt.category,)) == (table.prompts, table.categories)


@needs_data
@pytest.mark.parametrize("name", ["mmlu_pro_scores", "llmrouter_scores"])
def test_score_tables_are_labelled_prompts_too(name: str) -> None:
    found, table = read_prompts(DATA / f"{name}.jsonl.gz"), read_scores(DATA / f"{name}.jsonl.gz")
    assert found.bad_rows == table.bad_rows == ()
    assert tuple(prompt.text for prompt in found.prompts) == table.prompts
    assert len(found.categories) == 14


@needs_data
@pytest.mark.parametrize("path", sorted((DATA / "label_sets").glob("*.jsonl.gz")), ids=lambda path: path.name)
def test_label_sets_are_read_whole(path: Path) -> None:
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    found = read_prompts(path)
    assert not found.bad_rows
    assert Counter(prompt.category for prompt in found.prompts) == Counter(row["label"] for row in rows)
    assert {prompt.language for prompt in found.prompts} == {row["language"] for row in rows}
