"""What a router is asked and what it answers: values only, no rule and no number of its own.

A query carries everything that its decision depends on, the state of the experts at that moment included, so that the
same query gives the same decision. Knows nothing about embeddings, files, torch or how experts run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

__all__ = ["CostTerm", "Decision", "Message", "Neighbour", "Previous", "Query", "Snapshot", "Turn", "last_user_turn"]


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


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A training prompt and its cosine to the prompt. `text` is None where its licence is not ours to pass on."""

    id: str
    source: str
    category: str
    license: str
    cosine: float
    text: str | None = None


@dataclass(frozen=True, slots=True)
class CostTerm:
    """What residency weighed: the expert that the mapping names against the one that was chosen, perhaps the same.

    Scores are expected scores for the category. `missing_bytes` is what loading the mapped expert would have moved.
    """

    epsilon: float
    mapped: str
    mapped_score: float
    chosen: str
    chosen_score: float
    missing_bytes: int | None


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


@dataclass(frozen=True, slots=True)
class Decision:
    """Who answers and why.

    `why` is one of
        "model"         the client named the expert
        "mention"       a leading `@expert` did
        "rule"          a rule of the configuration (`rule` is its number, from 1)
        "category"      the classifier was sure, also where its category is mapped to nobody and the general one answers
        "resident"      as "category", and a near-equal of the category's expert was already in memory (`cost`)
        "conversation"  a follow-up whose topic has not clearly moved
        "abstain"       the classifier was not sure, or the prompt is unlike anything seen
        "general"       there was nothing to classify
        "broken"        as one of the above, but that expert (`instead_of`) cannot be had
    and `because` says it in a sentence. `text` is the last user turn as the expert should see it. `probabilities`
    covers every category where the classifier was asked, and is empty otherwise.
    """

    expert: str
    category: str | None
    confidence: float | None
    why: str
    text: str
    probabilities: Mapping[str, float] = field(default_factory=dict)
    because: str = ""
    rule: int | None = None
    instead_of: str | None = None
    cost: CostTerm | None = None
    nearest: tuple[Neighbour, ...] = ()


def last_user_turn(messages: Iterable[Message]) -> str:
    """Return the content of the last turn whose role is "user", "" without one."""
    turns = [message.content for message in messages if message.role == "user"]
    return turns[-1] if turns else ""
