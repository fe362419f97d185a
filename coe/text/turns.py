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

__all__ = ["APART", "WITH_THOUGHTS", "Reshaped", "apart", "reshaped"]

FOLDED = "system turn folded into the user turn after it"
JOINED = "turns of the same role in a row joined"
APART = "calls of one turn taken apart, each before its result"
WITH_THOUGHTS = "what a turn says beside thoughts and a call put after its thoughts"
JOINABLE = ("system", "user", "assistant")


class Reshaped(NamedTuple):
    """A conversation, and what was changed for it, in words for people."""

    messages: tuple[Message, ...]
    changed: tuple[str, ...]


def reshaped(messages: Sequence[Message]) -> Iterator[Reshaped]:
    """Yield the conversation in other shapes that say the same, the least changed first."""
    original = tuple(messages)
    seen = [original]
    alone = apart(original)
    starts = (
        Reshaped(original, ()),
        Reshaped(_with_thoughts(original), (WITH_THOUGHTS,)),
        Reshaped(alone, (APART,)),
        Reshaped(_with_thoughts(alone), (WITH_THOUGHTS, APART)),
    )
    for start, said in starts:
        joined, folded = _joined(start), _folded(start)
        shapes = ((start, ()), (joined, (JOINED,)), (folded, (FOLDED,)), (_joined(folded), (FOLDED, JOINED)))
        for shape, changed in shapes:
            if shape not in seen:
                seen.append(shape)
                yield Reshaped(shape, (*said, *changed))


def apart(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return it with one call in a turn, followed by what came of it: some templates know no calls side by side."""
    turns: list[Message] = []
    at = 0
    while at < len(messages):
        called, at = messages[at], at + 1
        if len(called.tool_calls) < 2:
            turns.append(called)
            continue
        results = list(itertools.takewhile(lambda turn: turn.role == "tool", messages[at:]))
        at += len(results)
        for number, call in enumerate(called.tool_calls):
            first = {} if number == 0 else {"content": "", "thinking": ""}
            turns.append(replace(called, tool_calls=(call,), **first))
            turns += [result for result in results if result.tool_call_id == call.id]
        turns += [each for each in results if all(each.tool_call_id != call.id for call in called.tool_calls)]
    return tuple(turns)


def _with_thoughts(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return it without text beside thoughts and calls: gpt-oss's template knows one of the two."""
    return tuple(
        replace(turn, content="", thinking=f"{turn.thinking}\n\n{turn.content}")
        if turn.thinking and turn.content and turn.tool_calls
        else turn
        for turn in messages
    )


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
    calls = tuple(call for message in run for call in message.tool_calls)
    content = "\n\n".join(message.content for message in run if message.content)
    return replace(run[-1], role=role, content=content, tool_calls=calls)
