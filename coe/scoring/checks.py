"""Checks: how an answer is compared with its reference, one function for each.

Owns what counts as the same answer. Pure text: knows nothing about models. Not here: the checks `choice` and `loss`,
which compare likelihoods (run.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

__all__ = ["CHECKS", "TEXT_CHECKS", "can_still_match", "last_number", "normalised_sql"]

NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
WORD = re.compile(r"\w+")


def last_number(text: str) -> float | None:
    """Return the last number in a text, thousands separators removed; None for a text without one."""
    found = NUMBER.findall(text)
    return float(found[-1].replace(",", "")) if found else None


def normalised_sql(text: str) -> str:
    """Return a query in lower case, with one kind of quote, single spaces between tokens and no final semicolon."""
    spaced = re.sub(r"([(),;=<>])", r" \1 ", text.lower().replace("'", '"'))
    return " ".join(spaced.split()).removesuffix(";").rstrip()


def first_word(text: str) -> str:
    """Return the first word in lower case; "" for a text without one."""
    found = WORD.search(text)
    return found[0].lower() if found else ""


def spaced_once(text: str) -> str:
    """Return the text with every run of white space as one space, and none at its ends."""
    return " ".join(text.split())


def same_last_number(answer: str, gold: str) -> bool:
    """True if both end in the same number. Raises ValueError for a reference without one."""
    expected = last_number(gold)
    if expected is None:
        raise ValueError(f"reference {gold!r} holds no number; the row's check cannot be last_number")
    found = last_number(answer)
    return found is not None and abs(found - expected) < 1e-6


def same_sql(answer: str, gold: str) -> bool:
    """True for the same text but for case, quotes and spacing; an equivalent query in other words counts as wrong."""
    return normalised_sql(answer) == normalised_sql(gold)


def same_first_word(answer: str, gold: str) -> bool:
    """True if both begin with the same word."""
    return first_word(answer) == first_word(gold)


def same_text(answer: str, gold: str) -> bool:
    """True for the same text, case included, but for white space."""
    return spaced_once(answer) == spaced_once(gold)


TEXT_CHECKS: Mapping[str, Callable[[str, str], bool]] = {
    "last_number": same_last_number,
    "sql_normalised": same_sql,
    "first_word": same_first_word,
    "exact": same_text,
}
CHECKS = (*TEXT_CHECKS, "choice", "loss")


def squeezed(text: str) -> str:
    """Return the text in lower case, with one kind of quote, without white space and semicolons.

    What follows a text only adds to the end of this, so it can be compared before the answer is complete.
    """
    return re.sub(r"[\s;]", "", text.lower().replace("'", '"'))


def can_still_match(check: str, answer_so_far: str, gold: str) -> bool:
    """False once no continuation of the answer can pass the check: the rest need not be generated."""
    if check in ("exact", "sql_normalised"):
        return squeezed(gold).startswith(squeezed(answer_so_far).rstrip("\ufffd"))
    if check == "first_word":
        return len(WORD.findall(answer_so_far)) < 2
    return True
