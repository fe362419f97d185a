"""A user turn as the policy sees it, and the turn before it.

Values only. Knows nothing about embeddings, files, torch or how experts run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from coe.types import Message, Neighbour

__all__ = ["Previous", "Turn", "last_user_turn"]


class Previous(NamedTuple):
    """Which expert answered the conversation's turn before, and that turn's category where it was clear."""

    expert: str
    category: str | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """A classified user turn: `doubt` says why the classifier is not sure, "" where it is."""

    text: str
    probabilities: Mapping[str, float]
    doubt: str
    nearest: tuple[Neighbour, ...] = ()


def last_user_turn(messages: Iterable[Message]) -> str:
    """Return the content of the last turn whose role is "user", "" without one."""
    turns = [message.content for message in messages if message.role == "user"]
    return turns[-1] if turns else ""
