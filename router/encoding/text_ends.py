"""The ends of a text: where the instruction stands when something is pasted.

Owns the cut. The first and the last paragraph, of a single line the first and the last sentence, are encoded by
themselves, because inside a long text their words take on its subject: "translate this into German" under an article
about rivers is about rivers. Knows nothing about tokens.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["WAY_OF_CUTTING", "Ends", "ends_of"]

WAY_OF_CUTTING = 3  # goes up with every change here: vectors of another cut are no use to a trained router
MAX_CHARS = 240  # of an end
MIN_LINE_CHARS, MAX_LINE_CHARS = 100, 500  # a shorter line has no ends of its own, a longer one is a paragraph
MIN_CHARS = 20  # of a paragraph's end
MIN_BYTES = 20  # in UTF-8; a shorter first or last sentence is not cut off: "Hi there!" and "Thanks!" say nothing
MIN_LABEL_CHARS = 6  # but one that ends in a colon is: "TL;DR:"
COLONS = ":：;；"
SENTENCE_END = re.compile(r"(?<=[.!?:;…])\s+|(?<=[。！？：；])")


class Ends(NamedTuple):
    """The beginning and the end of a text, each the whole text where it is short."""

    head: str
    tail: str


def ends_of(text: str) -> Ends:
    """Return the first and last paragraph, of a long one its first or last sentences, of a line one sentence each."""
    text = text.strip()
    if "\n" not in text and len(text) < MIN_LINE_CHARS:
        return Ends(text, text)
    if "\n" not in text and len(text) <= MAX_LINE_CHARS:
        return Ends(first_sentence(text), last_sentence(text))
    lines = [line for line in text.split("\n") if line.strip()]
    return Ends(first_sentences(lines[0].strip()), last_sentences(lines[-1].strip()))


def first_sentence(line: str) -> str:
    """Return a line up to its first full stop, or up to its first colon."""
    window = line[:MAX_CHARS]
    for end in SENTENCE_END.finditer(window, MIN_LABEL_CHARS):
        if len(window[: end.start()].encode()) >= MIN_BYTES or window[end.start() - 1] in COLONS:
            return window[: end.start()]
    return window


def last_sentence(line: str) -> str:
    """Return what follows a line's last full stop or colon, but for one near its end."""
    window = line[-MAX_CHARS:]
    starts = [match.end() for match in SENTENCE_END.finditer(window)]
    return next((window[start:] for start in reversed(starts) if len(window[start:].encode()) >= MIN_BYTES), window)


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
