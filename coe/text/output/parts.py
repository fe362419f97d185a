"""The parts of an answer: a thought, a text for people, a call of a tool. Values only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Called", "Part", "Said", "Thought", "overlap"]


class Thought(NamedTuple):
    """A piece of what the model thinks before it answers."""

    text: str


class Said(NamedTuple):
    """A piece of the text for people."""

    text: str


class Called(NamedTuple):
    """A whole call of a tool; `arguments` is a JSON object's text."""

    name: str
    arguments: str


Part = Thought | Said | Called


def overlap(text: str, marks: tuple[str, ...]) -> int:
    """Return the length of the longest end of `text` that is the beginning of a mark and not all of it."""
    return max((_overlap(text, mark) for mark in marks), default=0)


def _overlap(text: str, mark: str) -> int:
    return next(_sizes(text, mark), 0)


def _sizes(text: str, mark: str) -> Iterator[int]:
    longest = min(len(text), len(mark) - 1)
    return (size for size in range(longest, 0, -1) if text.endswith(mark[:size]))
