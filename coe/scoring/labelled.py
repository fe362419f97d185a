"""Labelled prompts: rows of `{prompt or messages, category, check, answer or choices}`, one JSON object a line.

Owns the file format. A bad row is left out and returned with its line and what is wrong; it never stops the others.
Knows nothing about experts.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from coe.errors import ConfigError
from coe.scoring.checks import CHECKS, last_number
from coe.types import Message

__all__ = ["BadRow", "LabelledRow", "LabelledSet", "read_labelled"]

ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class LabelledRow:
    """A conversation that ends with the user, and how an answer to it is checked.

    `reference` is one of `choices` where there are any. `max_tokens` None leaves the limit to the check.
    """

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
        """A hash of what is asked and how it is checked; the row's id and category are not in it."""
        asked = {key: value for key, value in asdict(self).items() if key not in ("id", "category")}
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was left out, and why."""

    where: str  # file:line
    why: str


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """The good rows of a file, and the bad ones with what is wrong with them."""

    rows: tuple[LabelledRow, ...]
    bad_rows: tuple[BadRow, ...] = ()


def read_labelled(path: Path) -> LabelledSet:
    """Read a `.jsonl` or `.jsonl.gz` file; raises ConfigError if it cannot be read or has no good row."""
    rows: list[LabelledRow] = []
    bad_rows: list[BadRow] = []
    for number, line in enumerate(_lines(path), start=1):
        where = f"{path.name}:{number}"
        if not line.strip():
            continue
        try:
            rows.append(_row(json.loads(line), where))
        except ValueError as error:  # JSON's own errors are ValueErrors, too
            bad_rows.append(BadRow(where, str(error)))
    if not rows:
        first = f"; the first is left out because: {bad_rows[0].why}" if bad_rows else ""
        raise ConfigError(f"{path} has no row that can be used of {len(bad_rows)}{first}")
    return LabelledSet(tuple(rows), tuple(bad_rows))


def _lines(path: Path) -> Iterator[str]:
    if not path.name.endswith((".jsonl", ".jsonl.gz")):
        raise ConfigError(f"{path}: labelled prompts come as .jsonl or .jsonl.gz, one JSON object a line")
    opener: Any = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as stream:
            yield from stream
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error


def _row(raw: object, where: str) -> LabelledRow:
    """Return the row in a JSON value; raises ValueError with what is wrong and what to do."""
    if not isinstance(raw, dict):
        raise ValueError(f"a {type(raw).__name__}, not an object; write {{prompt, category, check, answer}}")
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
    """Return the conversation up to the user's last turn, and the assistant's answer, None if there is none."""
    if "messages" not in raw:
        return (Message("user", _text(raw, "prompt")),), None
    turns = raw["messages"]
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


def _text(raw: dict[str, Any], key: str) -> str:
    value = raw.get(key)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"no text in '{key}'")
    return value


def _choices(raw: dict[str, Any]) -> tuple[str, ...]:
    choices = raw.get("choices")
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
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise ValueError(f"max_tokens {limit!r} is no whole number above 0")
    return limit
