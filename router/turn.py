"""What a router is asked and what it answers: values only, no rule and no number of its own.

A query carries everything that its decision depends on, the state of the experts at that moment included, so that the
same query gives the same decision. Knows nothing about embeddings, files, torch or how experts run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from coe.types import Neighbour

__all__ = ["Message", "Previous", "Query", "Snapshot", "Turn", "last_user_turn"]


class Message(Protocol):
    """One chat turn."""

    @property
    def role(self) -> str: ...
    @property
    def content(self) -> str: ...


class Snapshot(Protocol):
    """The experts at one moment: what a load would move (absent: unknown), and what is wrong with the broken ones."""

    @property
    def missing_bytes(self) -> Mapping[str, int]: ...
    @property
    def broken(self) -> Mapping[str, str]: ...


class Query(Protocol):
    """A conversation and what the client said about it."""

    @property
    def messages(self) -> Sequence[Message]: ...
    @property
    def expert(self) -> str | None:
        """The name or alias that the client asked for, None to be routed."""
        ...

    @property
    def has_tools(self) -> bool: ...
    @property
    def conversation(self) -> str | None:
        """The client's own name for the conversation, None: it is known by its messages."""
        ...

    @property
    def only_explains(self) -> bool:
        """Whether nobody will answer: the decision shows the texts that may be shown, and is not remembered."""
        ...

    @property
    def snapshot(self) -> Snapshot: ...


class Previous(NamedTuple):
    """Who answered a conversation's turn before this one, and the category that it was about, if that was clear."""

    expert: str
    category: str | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """A user turn as the classifier sees it: `doubt` says why it is not sure, "" where it is."""

    text: str
    probabilities: Mapping[str, float]
    doubt: str
    nearest: tuple[Neighbour, ...] = ()


def last_user_turn(messages: Iterable[Message]) -> str:
    """Return the content of the last turn whose role is "user", "" without one."""
    turns = [message.content for message in messages if message.role == "user"]
    return turns[-1] if turns else ""
