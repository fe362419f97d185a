"""Rules that come before the classifier: a language, a keyword or the presence of tools names an expert or a category.

Owns the conditions of a rule and how they match; every condition of a rule must hold, and the first rule that matches
wins. Knows nothing about where rules are written or what the experts are.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from router.directory import Directory
from router.language import CODES, LanguageIdentifier

__all__ = ["Match", "Rule", "Rules"]

MAX_CHARS = 100_000  # of a longer text only so much is searched for keywords
RUN_CHARS = 200
# scripts written without spaces between words: there a keyword may begin and end inside a run of letters
UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")


@dataclass(frozen=True, slots=True)
class Rule:
    """Conditions, and the expert or the category (exactly one) that they name.

    `languages` and `keywords` hold if one of them does, and always where they are empty; `has_tools` holds always where
    it is None. Keywords are whole words or phrases in any case.
    """

    expert: str | None = None
    category: str | None = None
    languages: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    has_tools: bool | None = None


class Match(NamedTuple):
    """The rule that matched, its number (from 1) and what in the query matched."""

    rule: Rule
    number: int
    reason: str


class Identifier(Protocol):
    """Text to language code."""

    def identify(self, text: str) -> str | None: ...


class Rules:
    """Rules in order. The language model is loaded if, and only if, a rule asks for a language.

    Raises:
        ValueError: a rule without a condition, with no expert or category or with both, or with a language that the
            identifier does not know; and a rule asks for a language while the identifier is not installed.
    """

    def __init__(self, rules: Sequence[Rule] = (), identifier: Identifier | None = None) -> None:
        for number, rule in enumerate(rules, 1):
            check(rule, f"rule {number}")
        self._rules = [(rule, pattern_of(rule.keywords)) for rule in rules]
        self._asks_language = any(rule.languages for rule in rules)
        self._identifier = LanguageIdentifier() if self._asks_language and identifier is None else identifier

    def checked(self, categories: Sequence[str], directory: Directory) -> Rules:
        """Return the rules with the router's spelling of categories and the experts' own names.

        Raises:
            ValueError: a rule names an unknown expert or category.
        """
        known = {category.casefold(): category for category in categories}
        found = []
        for number, (rule, _) in enumerate(self._rules, 1):
            if rule.category is not None and rule.category.casefold() not in known:
                names = ", ".join(categories) or "none"
                raise ValueError(
                    f"rule {number} category '{rule.category}': the router does not have it; its categories: {names}"
                )
            expert = None if rule.expert is None else directory.resolve(rule.expert, f"rule {number} expert")
            category = None if rule.category is None else known[rule.category.casefold()]
            found.append(replace(rule, expert=expert, category=category))
        return Rules(found, self._identifier)

    def match(self, text: str, *, has_tools: bool) -> Match | None:
        """Return the first rule that matches."""
        folded = folded_of(text[:MAX_CHARS]) if any(pattern for _, pattern in self._rules) else ""
        language = self._language(text)
        for number, (rule, pattern) in enumerate(self._rules, 1):
            reasons = reasons_of(rule, pattern, folded, language, has_tools)
            if reasons is not None:
                return Match(rule, number, ", ".join(reasons))
        return None

    def _language(self, text: str) -> str | None:
        if not self._asks_language or self._identifier is None or not text.strip():
            return None
        return self._identifier.identify(text)


def reasons_of(
    rule: Rule, pattern: re.Pattern[str] | None, folded: str, language: str | None, has_tools: bool
) -> list[str] | None:
    """Return what made each condition hold, None where one of them does not."""
    reasons = []
    if rule.has_tools is not None:
        if rule.has_tools is not has_tools:
            return None
        reasons.append("tools" if has_tools else "no tools")
    if rule.languages:
        if language not in rule.languages:
            return None
        reasons.append(f"language {language}")
    if pattern is not None:
        found = pattern.search(folded)
        if found is None:
            return None
        reasons.append(f"keyword '{found.group()}'")
    return reasons


def check(rule: Rule, where: str) -> None:
    """Raises ValueError for a rule that no query could match, or that names nothing or two things."""
    if not rule.languages and not rule.keywords and rule.has_tools is None:
        raise ValueError(f"{where} has no condition; give it language, keyword or has_tools")
    if (rule.expert is None) == (rule.category is None):
        given = "both expert and category" if rule.expert else "neither expert nor category"
        raise ValueError(f"{where} names {given}; name one of them")
    for language in rule.languages:
        if language not in CODES:
            raise ValueError(
                f"{where} language '{language}': not a language that can be identified; write an ISO 639 code in "
                f'lower case, such as "de", "zh" or "sw"'
            )
    for keyword in rule.keywords:
        if not keyword.strip():
            raise ValueError(f"{where} keyword '{keyword}': empty; write a word or a phrase")


def pattern_of(keywords: Sequence[str]) -> re.Pattern[str] | None:
    """Return one pattern for all keywords, the longest first; None without any."""
    words = sorted({folded_of(keyword).strip() for keyword in keywords}, key=len, reverse=True)
    return re.compile("|".join(map(whole_word, words))) if words else None


def whole_word(word: str) -> str:
    """Return a pattern of a word or phrase that no letter or digit adjoins, its spaces of any length."""
    before = "" if UNSPACED.match(word[0]) else r"(?<!\w)"
    after = "" if UNSPACED.match(word[-1]) else r"(?!\w)"
    return before + r"\s+".join(map(re.escape, word.split())) + after


def folded_of(text: str) -> str:
    """Return the form in which texts are compared: case folded, composed and decomposed letters alike (NFKC)."""
    return "".join(unicodedata.normalize("NFKC", run) for run in runs_of(text)).casefold()


def runs_of(text: str) -> Iterator[str]:
    """Yield the text in runs: normalising a long run of combining marks takes time with the square of its length."""
    start = 0
    while start < len(text):
        end = start + RUN_CHARS
        while end < min(start + 2 * RUN_CHARS, len(text)) and unicodedata.combining(text[end]):
            end += 1  # a letter keeps its marks
        yield text[start:end]
        start = end
