"""What a router may look at, and what it decides."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from coe.types.conversation import Message

__all__ = [
    "CostTerm",
    "Decision",
    "Neighbour",
    "PassedOver",
    "PassedOverReason",
    "RouteQuery",
    "Router",
    "ShadowChoice",
    "Snapshot",
]


PassedOverReason = Literal["refused", "failing", "queue", "deadline", "pinned", "unfit"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The experts at one moment, by name: the seconds that loading one would take, and which ones are broken.

    Seconds are those of the bytes that are not where the expert runs, at the speeds measured so far; an expert that is
    missing from `load_s` is one of which they are not known. A broken one was refused at start, or its breaker is open:
    no request reaches it.
    """

    load_s: Mapping[str, float] = field(default_factory=dict)
    broken: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class RouteQuery:
    """Everything that a router may look at.

    `expert` is the name or alias that the client asked for, None to be routed. `conversation` is the client's own name
    for the conversation, None if it has none; `owner` is whose conversations it may go on with. `only_explains` asks
    which expert would answer, without an answer: the decision then has the texts of training prompts whose licence
    allows it, and the router does not remember it. `exclude` names experts that may not answer,
    `prefer` those that are to answer, the first one first, where they are nearly as likely.
    """

    messages: tuple[Message, ...]
    expert: str | None = None
    has_tools: bool = False
    conversation: str | None = None
    owner: str = ""
    only_explains: bool = False
    exclude: tuple[str, ...] = ()
    prefer: tuple[str, ...] = ()
    snapshot: Snapshot = field(default_factory=Snapshot)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A training prompt and its cosine to the prompt. `text` is None where its licence does not allow to show it."""

    id: str
    source: str
    category: str
    license: str
    cosine: float
    text: str | None = None


@dataclass(frozen=True, slots=True)
class CostTerm:
    """What the price of a switch weighed: the mapped expert against the chosen one, perhaps the same.

    Scores are expected scores under the category probabilities, `load_s` the seconds until an expert is ready: the
    chosen one has the highest score - `score_per_second` * `load_s`.
    """

    score_per_second: float
    mapped: str
    mapped_score: float
    mapped_load_s: float
    chosen: str
    chosen_score: float
    chosen_load_s: float


@dataclass(frozen=True, slots=True)
class PassedOver:
    """An expert that was to answer and could not.

    `reason` is "refused" (it could not be had at start), "failing" (its step, its weights or its template failed, or
    its breaker is open), "queue" (as many as may wait for it wait already), "deadline" (its share of the time is over,
    or too short to load it), "pinned" (pinned experts leave no room for it) or "unfit" (it was to stand in, and the
    request is wrong for it: its context is shorter, for one).
    """

    expert: str
    reason: PassedOverReason


@dataclass(frozen=True, slots=True)
class ShadowChoice:
    """What a router in shadow would have decided; nobody is answered by it. `error` says why it decided nothing."""

    version: str
    expert: str | None = None
    category: str | None = None
    confidence: float | None = None
    why: str = ""
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Which expert answers, and why.

    `why` is one of
        "model"         the client named the expert
        "mention"       a leading `@expert` named it
        "rule"          a rule of the configuration named it, or its category (`rule` is the rule's number, from 1)
        "category"      the classifier was sure; the general expert answers for a category that has no expert
        "cost"          as "category", but another expert is worth more after the price of loading it (`cost`)
        "conversation"  a follow-up whose topic has not clearly moved stays with the conversation's expert
        "wish"          another expert was chosen, which the request excludes, or this one is nearly as likely and it
                        prefers this one
        "abstain"       the classifier was not sure, or the prompt is unlike everything it was trained on
        "general"       there was nothing to classify
    and `because` says it in a sentence. `text` is the last user turn as the expert is given it. `probabilities` has
    every category where the classifier was asked, and is empty otherwise. `alternatives`, at most two, answer in turn
    where the expert cannot; `passed_over` are those that could not, before this one. `shadow` is what a router in
    shadow said of the same prompt, where there is one and the classifier was asked.
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
    alternatives: tuple[str, ...] = ()
    passed_over: tuple[PassedOver, ...] = ()
    vectors: tuple[bytes, ...] = field(default=(), repr=False, compare=False)
    shadow: ShadowChoice | None = None


class Router(Protocol):
    """Prompts to experts. Pure from the caller's view: same queries, same decisions, alone or in a batch."""

    def route(self, queries: Sequence[RouteQuery]) -> Sequence[Decision]:
        """Return one decision per query; raises UnknownExpertError for a query that names an unknown expert."""
        ...
