"""Rewritings of a prompt as people type: typos, no capitals, no punctuation, a greeting before and thanks behind.

Owns seeded rewritings that keep what a prompt asks for. Knows nothing about models.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping

__all__ = ["REWRITINGS", "rewritten"]

GREETINGS = ("Hi there! ", "Hello, ", "hey, quick one: ", "Good morning. ", "Hi, hope you can help me. ", "ok so ")
THANKS = (
    " Thanks!",
    " thank you so much in advance",
    " pls",
    " Thanks a lot, have a nice day.",
    " cheers",
    " Any idea?",
)
TYPOS_PER_LETTER = 0.04
PUNCTUATION = re.compile(r"[.,;:!?]")


def rewritten(text: str, rewriting: str, seed: int = 0) -> str:
    """Return a text rewritten, the same way every time.

    Raises:
        KeyError: no such rewriting.
    """
    return REWRITINGS[rewriting](text, random.Random(f"{seed} {rewriting} {text}"))


def with_typos(text: str, rng: random.Random) -> str:
    """Swap, drop or double some letters."""
    letters = list(text)
    for place in range(len(letters) - 1):
        if letters[place].isalpha() and letters[place + 1].isalpha() and rng.random() < TYPOS_PER_LETTER:
            here, after = letters[place], letters[place + 1]
            letters[place : place + 2] = rng.choice([[after, here], [here, ""], [here + here, after]])
    return "".join(letters)


def polite(text: str, rng: random.Random) -> str:
    return f"{rng.choice(GREETINGS)}{text}{rng.choice(THANKS)}"


REWRITINGS: Mapping[str, Callable[[str, random.Random], str]] = {
    "typos": with_typos,
    "lower case": lambda text, _: text.lower(),
    "upper case": lambda text, _: text.upper(),
    "no punctuation": lambda text, _: PUNCTUATION.sub("", text),
    "pleasantries": polite,
    "all together": lambda text, rng: polite(with_typos(PUNCTUATION.sub("", text.lower()), rng), rng),
}
