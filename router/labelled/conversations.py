"""Authored conversations: second turns that need their first, short prompts that begin anew, system turns, wrappers.

Owns the sections of `data/languages` that are no plain prompts. `follow-ups` has `first turn ||| second turn`, `system
turns` has `category ::: system turn ||| user turn`, `wrapped` has `category ::: prompt`. `data/short_follow_ups.txt`
has `category follow-up`, `data/held_out_turns.txt` `stay` or `leave`, and both turns. Knows nothing about training.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from router.labelled.authored import DATA, LANGUAGES, lines_of, sections_of, text_files

__all__ = [
    "Instructed",
    "TwoTurns",
    "Wrapped",
    "follow_ups",
    "held_out_turns",
    "instructed_prompts",
    "short_follow_ups",
    "short_prompts",
    "wrapped_prompts",
]

HELD_OUT = DATA / "held_out_turns.txt"
SHORT_FOLLOW_UPS = DATA / "short_follow_ups.txt"
TURN = " ||| "
LABEL = " ::: "


class TwoTurns(NamedTuple):
    """Two user turns of a conversation, and whether the second needs the first and stays with its expert."""

    first: str
    second: str
    stays: bool
    language: str = ""


class Instructed(NamedTuple):
    """A user turn under a system turn, and the category of both together."""

    category: str
    system: str
    user: str


class Wrapped(NamedTuple):
    """A user's words inside what an agent or a template puts around them."""

    category: str
    text: str


def follow_ups() -> list[TwoTurns]:
    """Return all follow-ups, language by language."""
    return [TwoTurns(*parts(line, TURN), True, language) for language, line in lines_under("follow-ups")]


def held_out_turns() -> list[TwoTurns]:
    """Return the conversations that nothing is trained on."""
    labelled = [(name, *parts(line, LABEL)) for name, lines in sections_of(HELD_OUT).items() for line in lines]
    return [TwoTurns(*parts(turns, TURN), label == "stay", language) for language, label, turns in labelled]


def short_follow_ups() -> list[tuple[str, str]]:
    """Return English follow-ups of a few words, each with the category that it goes with, `*` for any."""
    return [parts(line, " ") for line in lines_of(SHORT_FOLLOW_UPS)]


def short_prompts(language: str) -> list[str]:
    """Return prompts of a few words that stand alone."""
    return sections_of(LANGUAGES / f"{language}.txt").get("short new topics", [])


def instructed_prompts() -> list[Instructed]:
    """Return user turns under system turns: some of those decide the category, some do not."""
    labelled = (parts(line, LABEL) for _, line in lines_under("system turns"))
    return [Instructed(category, *parts(rest, TURN)) for category, rest in labelled]


def wrapped_prompts() -> list[Wrapped]:
    """Return prompts with wrappers around them."""
    return [Wrapped(*parts(line, LABEL)) for _, line in lines_under("wrapped")]


def lines_under(section: str) -> Iterator[tuple[str, str]]:
    """Yield language and line of every file that has the section."""
    for file in text_files(LANGUAGES):
        for line in sections_of(file).get(section, []):
            yield file.stem, line


def parts(line: str, mark: str) -> tuple[str, str]:
    """Return what stands before and after the mark; raises ValueError without it."""
    before, found, after = line.partition(mark)
    if not found:
        raise ValueError(f"'{line[:60]}' has no '{mark.strip()}'")
    return before, after
