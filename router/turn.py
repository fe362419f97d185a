"""A user turn as the policy sees it, and the turn before it.

Values only. Knows nothing about embeddings, files, torch or how experts run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from coe.types import Message, Neighbour

__all__ = ["Previous", "Turn", "last_user_turn", "system_turn", "user_turns"]


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
    confidence: float | None = None  # the chance that the likeliest category is right; None: its probability
    follow_up: float = 0.0  # the chance that it needs the turn before
    is_under_way: bool = False  # its answer has begun with calls of tools, and goes on with what they returned

    def confidence_of(self, category: str) -> float:
        """Return the chance that this category, the likeliest, is right."""
        return self.probabilities[category] if self.confidence is None else self.confidence


def user_turns(messages: Iterable[Message]) -> list[str]:
    """Return the contents of the turns whose role is "user"."""
    return [message.content for message in messages if message.role == "user"]


def system_turn(messages: Iterable[Message]) -> str:
    """Return the contents of the turns whose role is "system"."""
    return "\n\n".join(message.content for message in messages if message.role == "system")


def last_user_turn(messages: Iterable[Message]) -> str:
    """Return the content of the last turn whose role is "user", "" without one."""
    turns = user_turns(messages)
    return turns[-1] if turns else ""
