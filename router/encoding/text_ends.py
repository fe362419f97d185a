"""The ends of a text: where the instruction stands when something is pasted.

Owns the cut. The first and the last paragraph are encoded by themselves, because inside a long text their words take
on its subject: "translate this into German" under an article about rivers is about rivers. Knows nothing about tokens.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Ends", "ends_of"]

MAX_CHARS = 240  # of an end
MAX_LINE_CHARS = 500  # a single line up to this has no ends of its own
MIN_CHARS = 20  # a shorter first or last sentence is not cut off
SENTENCE_END = re.compile(r"(?<=[.!?:;…])\s+|(?<=[。！？：；])")


class Ends(NamedTuple):
    """The beginning and the end of a text, each the whole text where it is short."""

    head: str
    tail: str


def ends_of(text: str) -> Ends:
    """Return the first and last paragraph, or of a long one the first or last sentences."""
    text = text.strip()
    if "\n" not in text and len(text) <= MAX_LINE_CHARS:
        return Ends(text, text)
    lines = [line for line in text.split("\n") if line.strip()]
    return Ends(first_sentences(lines[0].strip()), last_sentences(lines[-1].strip()))


def first_sentences(paragraph: str) -> str:
    if len(paragraph) <= MAX_CHARS:
        return paragraph
    window = paragraph[:MAX_CHARS]
    ends = [match.start() for match in SENTENCE_END.finditer(window, MIN_CHARS)]
    return window[: ends[-1]] if ends else window


def last_sentences(paragraph: str) -> str:
    if len(paragraph) <= MAX_CHARS:
        return paragraph
    window = paragraph[-MAX_CHARS:]
    start = SENTENCE_END.search(window, 0, MAX_CHARS - MIN_CHARS)
    return window[start.end() :] if start else window
