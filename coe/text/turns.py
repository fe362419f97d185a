"""Conversations that a template refuses, in the shapes that it may take instead.

A client of a composition cannot know whose template its turns will meet: some have no system turn, some want user and
assistant in turn. Pure. Knows nothing about templates.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from coe.types import Message

__all__ = ["Reshaped", "reshaped"]

FOLDED = "system turn folded into the user turn after it"
JOINED = "turns of the same role in a row joined"
JOINABLE = ("system", "user", "assistant")


class Reshaped(NamedTuple):
    """A conversation, and what was changed for it, in words for people."""

    messages: tuple[Message, ...]
    changed: tuple[str, ...]


def reshaped(messages: Sequence[Message]) -> Iterator[Reshaped]:
    """Yield the conversation in other shapes that say the same, the least changed first."""
    original = tuple(messages)
    joined, folded = _joined(original), _folded(original)
    seen = {original}
    for shape, changed in ((joined, (JOINED,)), (folded, (FOLDED,)), (_joined(folded), (FOLDED, JOINED))):
        if shape not in seen:
            seen.add(shape)
            yield Reshaped(shape, changed)


def _joined(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return it with neighbours of one role as one turn."""
    runs = [(role, list(run)) for role, run in itertools.groupby(messages, key=lambda message: message.role)]
    return tuple(turn for role, run in runs for turn in ([_one_turn(run, role)] if role in JOINABLE else run))


def _folded(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return it without system turns: each is the beginning of the user turn that follows, or a user turn itself."""
    turns: list[Message] = []
    waiting: list[Message] = []
    for message in messages:
        if message.role == "system":
            waiting.append(message)
        elif message.role == "user" and waiting:
            turns.append(_one_turn([*waiting, message], "user"))
            waiting = []
        else:
            turns.append(message)
    return (*turns, _one_turn(waiting, "user")) if waiting else tuple(turns)


def _one_turn(run: Sequence[Message], role: str) -> Message:
    if len(run) == 1:
        return replace(run[0], role=role)
    return replace(run[-1], role=role, content="\n\n".join(message.content for message in run if message.content))
