"""A proposal is shown as a table and as TOML that parses."""

from __future__ import annotations

import tomllib

from router.proposals.cards import Card
from router.proposals.catalogue import Catalogue, Entry
from router.proposals.proposal import Category, Proposal
from router.proposals.proposal_text import figures_of, lines_of, text, toml_of

CATALOGUE = Catalogue(
    (
        Entry("base"),
        Entry("law", "Contracts and courts."),
        Entry("tea shop", source="./tea", card=Card((), 'Knows "tea" well.')),
        Entry("sql"),
    ),
    general="base",
)
FOUND = Proposal(
    (
        Category("law_court", "law", "law", 0.5, 0.2, 50, 0.5, ("court", "judge"), ("who may sue",)),
        Category("sql", "sql", "sql", 0.4, 0.1, 30, 0.3, ("select",), ("list all rows",)),
        Category("red_wine", None, "law", 0.1, 0.1, 15, 0.15, ("red wine", "grape"), ("which grape",)),
    ),
    ("law_court",) * 55,
    100,
    0.05,
    ("tea shop",),
)


def test_the_toml_parses_and_says_what_is_missing() -> None:
    found = tomllib.loads(toml_of(FOUND, CATALOGUE))
    assert found == {
        "experts": {
            "tea shop": {"source": "./tea", "description": 'Knows "tea" well.'},
            "sql": {"description": "Requests about select."},
        },
        "router": {"categories": {"law_court": "law", "red_wine": "base"}},
    }


def test_any_text_is_one_string_of_toml() -> None:
    for value in ('a"b\\c', "line\nline\x00\x7f", "\ud800 čaj 茶"):
        (read,) = tomllib.loads(f"key = {text(value)}").values()
        assert read.split() == value.encode("utf-8", "replace").decode().replace("\0", " ").replace("\x7f", " ").split()


def test_the_table_has_shares_terms_examples_and_what_no_expert_is_about() -> None:
    told = "\n".join(lines_of(FOUND, CATALOGUE))
    assert "law_court       50   50.0%   0.50    0.20  law\n  court, judge\n  - who may sue" in told
    assert "none; base answers" in told
    assert "no expert for 'red_wine' (15.0%): consider adding one about red wine, grape" in told
    assert "5.0% of the prompts are in groups too small" in told
    assert "experts that no category goes to: tea shop" in told


def test_the_json_has_a_sentence_for_every_category() -> None:
    figures = figures_of(FOUND, CATALOGUE)
    assert figures["descriptions"]["law_court"] == "Contracts and courts. Requests about court, judge."
    assert figures["descriptions"]["red_wine"] == "Requests about red wine, grape."
    assert [row["expert"] for row in figures["categories"]] == ["law", "sql", None]
