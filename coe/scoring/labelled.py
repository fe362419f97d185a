"""Labelled prompts: rows of `{prompt or messages, category, check, answer or choices}`.

Owns what a row means and what makes it bad. A bad row is left out, counted and named with what is wrong; it never stops
the others. Knows nothing about file formats (the rows are handed in), experts or how an answer is generated.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from coe.errors import ConfigError
from coe.scoring.checks import CHECKS, last_number
from coe.types import Message

__all__ = ["BadRow", "LabelledRow", "LabelledSet", "labelled_rows"]

ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class LabelledRow:
    """A conversation that ends with the user, and how an answer to it is judged. `reference` is one of `choices` where
    there are any."""

    id: str
    category: str
    messages: tuple[Message, ...]
    check: str
    reference: str
    choices: tuple[str, ...] = ()
    max_tokens: int | None = None

    @property
    def prompt(self) -> str:
        return self.messages[-1].content

    @property
    def digest(self) -> str:
        """Names what is asked and how it is judged; the row's id and category do not matter."""
        asked = {key: value for key, value in asdict(self).items() if key not in ("id", "category")}
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was left out, and why."""

    where: str  # file:number
    why: str


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """What was read: the good rows, and the bad ones by name."""

    rows: tuple[LabelledRow, ...]
    bad_rows: tuple[BadRow, ...] = ()


def labelled_rows(rows: Iterable[tuple[str, object]], file: Path) -> LabelledSet:
    """Interpret raw rows, each with its place; a ValueError in place of a row says why its line has none.

    Raises ConfigError if no row of the file can be used.
    """
    good: list[LabelledRow] = []
    bad: list[BadRow] = []
    for where, raw in rows:
        try:
            good.append(_row(raw, where))
        except ValueError as error:
            bad.append(BadRow(where, str(error)))
    if not good:
        first = f"; the first is left out because: {bad[0].why}" if bad else ""
        raise ConfigError(f"{file} has no row that can be used of {len(bad)}{first}")
    return LabelledSet(tuple(good), tuple(bad))


def _row(row: object, where: str) -> LabelledRow:
    """Raises ValueError with what is wrong and what to do."""
    if isinstance(row, ValueError):
        raise row
    if not isinstance(row, dict):
        raise ValueError(f"a {type(row).__name__}, not an object; write {{prompt, category, check, answer}}")
    raw = {key: value for key, value in row.items() if value not in (None, "")}  # a table has cells for all columns
    messages, said = _messages(raw)
    check = raw.get("check", "choice" if "choices" in raw else None)
    if check not in CHECKS:
        raise ValueError(f"unknown check {check!r}; checks are {', '.join(CHECKS)}")
    answer = raw.get("answer", raw.get("gold", said))
    choices = _choices(raw) if check == "choice" else ()
    return LabelledRow(
        id=str(raw.get("id", where)),
        category=_text(raw, "category"),
        messages=messages,
        check=check,
        reference=_chosen(answer, choices) if choices else _reference(answer, check),
        choices=choices,
        max_tokens=_max_tokens(raw),
    )


def _messages(raw: dict[str, Any]) -> tuple[tuple[Message, ...], str | None]:
    """The conversation up to the user's last turn, and what the assistant says to it if the row has that, too."""
    if "messages" not in raw:
        return (Message("user", _text(raw, "prompt")),), None
    turns = _from_json(raw["messages"])
    if not isinstance(turns, list) or not all(_is_turn(turn) for turn in turns):
        raise ValueError(f"'messages' is not a list of {{role, content}} with texts and roles {', '.join(ROLES)}")
    messages = tuple(Message(turn["role"], turn["content"]) for turn in turns)
    said = messages[-1].content if messages and messages[-1].role == "assistant" else None
    asked = messages if said is None else messages[:-1]
    if not asked or asked[-1].role != "user" or not asked[-1].content.strip():
        raise ValueError("'messages' has no user turn with text to answer at its end")
    return asked, said


def _is_turn(turn: object) -> bool:
    return isinstance(turn, dict) and turn.get("role") in ROLES and isinstance(turn.get("content"), str)


def _from_json(value: object) -> object:
    """The value of a text that is JSON, as a table's cell holds a list; any other value as it is."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _text(raw: dict[str, Any], key: str) -> str:
    value = raw.get(key)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"no text in '{key}'")
    return value


def _choices(raw: dict[str, Any]) -> tuple[str, ...]:
    choices = _from_json(raw.get("choices"))
    if not isinstance(choices, list) or len(choices) < 2 or not all(isinstance(c, str) and c for c in choices):
        raise ValueError("check 'choice' needs 'choices', a list of at least two texts")
    if len(set(choices)) < len(choices):
        raise ValueError("'choices' has the same text twice")
    return tuple(choices)


def _chosen(answer: object, choices: tuple[str, ...]) -> str:
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(choices):
        return choices[answer]
    if isinstance(answer, str) and answer in choices:
        return answer
    raise ValueError(f"answer {answer!r} is none of the choices; give a choice's text, or its number from 0")


def _reference(answer: object, check: str) -> str:
    if isinstance(answer, bool) or not isinstance(answer, str | int | float) or not str(answer).strip():
        raise ValueError(f"no 'answer' to judge by (it is {answer!r})")
    if check == "last_number" and last_number(str(answer)) is None:
        raise ValueError(f"answer {answer!r} holds no number, and check 'last_number' compares numbers")
    return str(answer)


def _max_tokens(raw: dict[str, Any]) -> int | None:
    limit = raw.get("max_tokens")
    limit = int(limit) if isinstance(limit, str) and limit.isdecimal() else limit  # CSV has texts only
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise ValueError(f"max_tokens {limit!r} is no whole number above 0")
    return limit
