"""`[router]`: names in the experts' own spelling, rules in order, a general expert, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from configurations import A, check_refused, read

from coe.config.schema import RuleConfig

REFUSALS = [
    ('experts.a = "a"\nexperts.b = "b"', "[router] general: no expert is called 'general'"),
    (A + 'router.general = "b"', '[router] general = "b": names no expert'),
    (
        A + 'experts.b = {source = "b", kind = "embedding"}\nrouter.general = "b"',
        '[router] general = "b": it is an expert of kind = "embedding" and answers no prompts',
    ),
    (
        A + 'experts.b = {source = "b", kind = "rerank"}\nrouter.categories.sql = "b"',
        '[router.categories] sql = "b": it is an expert of kind = "rerank"',
    ),
    (
        A + 'experts.b = {source = "b", kind = "rerank"}\n[[router.rules]]\nkeyword = ["x"]\nexpert = "b"',
        '[[router.rules]] 1 expert = "b": it is an expert of kind = "rerank"',
    ),
    (A + 'router.categories.sql = "q"', '[router.categories] sql = "q": names no expert; experts: a'),
    (A + "router.categories.sql = 1", "[router.categories] sql = 1: not a text"),
    (A + 'router.artefact = "gone"', '[router] artefact = "gone":'),
    (A + "router.min_confidence = 1.5", "out of range; write a number at least 0 and at most 1"),
    (A + "router.enabled = 'yes'", "neither true nor false"),
    (
        A + "router.score_per_second = -0.1",
        "[router] score_per_second = -0.1: out of range; write a number at least 0",
    ),
    (
        A + "router.residency_epsilon = 0.02",
        "[router] residency_epsilon: there is no such key any more; write score_per_second = the points of expected",
    ),
    (A + "router.score_per_second = 0.1", "experts are compared by expected scores; write mapping = the file of"),
    (A + "router.stickiness = 2", "[router] stickiness = 2: out of range"),
    (A + 'router.mapping = "gone.json"', '[router] mapping = "gone.json":'),
    (A + 'router.mapping = "a"', "a is not a file"),
    (A + "router.rules = 3", "[router] rules: not a list of tables; write each rule under its own [[router.rules]]"),
    (A + "router.rules = [3]", "[[router.rules]] 1 = 3: not a table"),
    (A + '[[router.rules]]\nword = "x"', "unknown key 'word' in [[router.rules]] 1; did you mean 'keyword'?"),
    (A + '[[router.rules]]\nhas_tools = "x"', '[[router.rules]] 1 has_tools = "x": neither true nor false'),
    (
        A + '[[router.rules]]\nkeyword = "x"\nexpert = "a"\n[[router.rules]]\nkeyword = "y"\nexpert = "q"',
        '[[router.rules]] 2 expert = "q": names no expert; experts: a',
    ),
]


@pytest.mark.parametrize(("text", "expected"), REFUSALS)
def test_bad_value_is_refused_by_name_once(folder: Path, text: str, expected: str) -> None:
    check_refused(folder, text, expected)


def test_names_and_aliases_become_names_of_experts(folder: Path) -> None:
    router = read(
        folder,
        """
        [experts.math]
        source = "a"
        aliases = ["maths"]
        [router]
        general = "Maths"
        categories = {algebra = "maths"}
        stickiness = 0.25
        [[router.rules]]
        language = "de"
        keyword = ["tax", "tax law"]
        expert = "MATHS"
        [[router.rules]]
        has_tools = true
        category = "tools"
        """,
    ).router
    assert router.general == "math"
    assert router.categories == {"algebra": "math"}
    assert router.stickiness == 0.25
    assert router.rules == (
        RuleConfig(("de",), ("tax", "tax law"), expert="math"),
        RuleConfig(has_tools=True, category="tools"),
    )


def test_only_expert_is_the_general_one(folder: Path) -> None:
    assert read(folder, '[experts]\nTiny = "a"\n').router.general == "Tiny"


def test_expert_called_general_is_the_general_one(folder: Path) -> None:
    assert read(folder, '[experts]\nother = "b"\nGeneral = "a"\n').router.general == "General"


def test_the_only_expert_that_answers_prompts_is_the_general_one(folder: Path) -> None:
    config = read(folder, A + 'experts.b = {source = "b", kind = "embedding", aliases = ["c"]}')
    assert config.router.general == "a"
    assert config.names == {"a": "a"}
