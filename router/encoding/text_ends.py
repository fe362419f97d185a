"""The ends of a text: where the instruction stands when something is pasted.

Owns the cut. The first and the last paragraph, of a single line the first and the last sentence, are encoded by themselves, because inside a long text their words take
on its subject: "translate this into German" under an article about rivers is about rivers. Knows nothing about tokens.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["WAY_OF_CUTTING", "Ends", "ends_of"]

WAY_OF_CUTTING = 2  # goes up with every change here: vectors of another cut are no use to a trained router
MAX_CHARS = 240  # of an end
MIN_LINE_CHARS = 100  # a single line shorter than this has no ends of its own
MIN_CHARS = 20  # of a paragraph's end, a shorter one is not cut off
MIN_SENTENCE_CHARS = 6  # of a line's first or last sentence: "TL;DR:" is one
SENTENCE_END = re.compile(r"(?<=[.!?:;…])\s+|(?<=[。！？：；])")


class Ends(NamedTuple):
    """The beginning and the end of a text, each the whole text where it is short."""

    head: str
    tail: str


def ends_of(text: str) -> Ends:
    """Return the first and last paragraph, or of a long one the first or last sentences; of a line its two sentences."""
    text = text.strip()
    if "\n" not in text:
        return Ends(text, text) if len(text) < MIN_LINE_CHARS else Ends(first_sentence(text), last_sentence(text))
    lines = [line for line in text.split("\n") if line.strip()]
    return Ends(first_sentences(lines[0].strip()), last_sentences(lines[-1].strip()))


def first_sentence(line: str) -> str:
    """Return a line up to its first full stop or colon."""
    window = line[:MAX_CHARS]
    end = SENTENCE_END.search(window, MIN_SENTENCE_CHARS)
    return window[: end.start()] if end else window


def last_sentence(line: str) -> str:
    """Return what follows a line's last full stop or colon but the one at its end."""
    window = line[-MAX_CHARS:]
    starts = [match.end() for match in SENTENCE_END.finditer(window) if match.end() <= len(window) - MIN_SENTENCE_CHARS]
    return window[starts[-1] :] if starts else window


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
