"""The router itself: queries in, decisions out.

Owns the order of work: what needs no classifier first, then one encoder call for all that is left, then the pure
decision; and the memory of conversations. Knows nothing about servers or how experts run. torch is imported by
`Router.load` alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Self

from coe.types import Decision
from router.directory import Directory
from router.encoding.text_encoder import TextEncoder
from router.model.artefact import Artefact, load_artefact
from router.model.scores import Scores, score
from router.neighbours import doubt, neighbours, with_texts
from router.policy import Policy
from router.stickiness import Memory, earlier_requests
from router.turn import Message, Previous, Query, Snapshot, Turn, last_user_turn

__all__ = ["GeneralOnly", "Router"]


@dataclass(frozen=True, slots=True)
class _Earlier:
    """A conversation as it was at an earlier request, which named nobody as far as we know."""

    messages: Sequence[Message]
    has_tools: bool
    snapshot: Snapshot
    expert: None = None
    conversation: None = None
    only_explains: bool = False


class _Step(NamedTuple):
    """A request on its way: decided already, or a text to classify."""

    text: str
    decision: Decision | None


class _Plan(NamedTuple):
    """What is known of a query before anything is encoded."""

    last: _Step
    remembered: Previous | None
    earlier: tuple[_Step, ...]  # to be routed again, oldest first


class Router:
    """A trained classifier and a policy. One thread may use it at a time."""

    def __init__(self, artefact: Artefact, encoder: TextEncoder, policy: Policy) -> None:
        artefact.check_encoder(encoder.id)
        self.artefact = artefact
        self.policy = policy.checked(artefact.categories)
        self._encoder = encoder
        self._memory = Memory()

    @classmethod
    def load(
        cls,
        artefact: Path | None = None,
        *,
        mapping: Mapping[str, str],
        general: str,
        names: Mapping[str, str],
        min_confidence: float | None = None,
        device: str = "cpu",
    ) -> Self:
        """Load a trained router, the shipped one by default, and its encoder, with a policy of nothing but a mapping.

        `mapping` is category -> expert; categories it leaves out go to `general`. `names` is every accepted name or
        alias -> expert. `min_confidence` replaces the threshold that the artefact was calibrated to.

        Raises:
            ValueError: an unknown category or expert, or an artefact that cannot be used.
        """
        policy = Policy(Directory(names, general), mapping)
        return cls.with_policy(policy, load_artefact(artefact, min_confidence), device)

    @classmethod
    def with_policy(cls, policy: Policy, artefact: Artefact, device: str = "cpu") -> Self:
        """Load the encoder that an artefact was trained with; raises ValueError as `Policy.checked` does."""
        policy = policy.checked(artefact.categories)  # say so before the encoder is loaded
        from router.encoding.encoder import Encoder  # torch

        return cls(artefact, Encoder(artefact.encoder_source, device=device), policy)

    @property
    def categories(self) -> tuple[str, ...]:
        """What prompts are sorted into."""
        return self.artefact.categories

    def route(self, queries: Sequence[Query]) -> list[Decision]:
        """Return one decision per query, with one encoder call for all that need one.

        Raises:
            ValueError: a query names an expert that nobody knows.
        """
        plans = [self._plan(query) for query in queries]
        steps = [step for plan in plans for step in (plan.last, *plan.earlier)]
        turns = self.turns([step.text for step in steps if step.decision is None and step.text.strip()])
        return [self._decide(query, plan, turns) for query, plan in zip(queries, plans, strict=True)]

    def scores(self, texts: Sequence[str]) -> Scores:
        """Return probabilities and similarities of texts, before any decision."""
        return score(self.artefact, self._encoder.encode(texts), texts)

    def turns(self, texts: Sequence[str]) -> dict[str, Turn]:
        """Return each text as the classifier sees it, with one encoder call."""
        each = list(dict.fromkeys(texts))
        if not each:
            return {}
        scores = self.scores(each)
        return {text: self._turn(text, scores, row) for row, text in enumerate(each)}

    def _plan(self, query: Query) -> _Plan:
        last = self._step(query)
        if last.decision is not None or not self.policy.stickiness:
            return _Plan(last, None, ())
        remembered = self._memory.recall(query)
        past = () if remembered else earlier_requests(query.messages)
        earlier = [_Earlier(messages, query.has_tools, query.snapshot) for messages in past]
        return _Plan(last, remembered, tuple(map(self._step, earlier)))

    def _step(self, query: Query) -> _Step:
        return _Step(last_user_turn(query.messages), self.policy.before_classifying(query))

    def _turn(self, text: str, scores: Scores, row: int) -> Turn:
        probabilities = dict(zip(self.categories, scores.probabilities[row].tolist(), strict=True))
        confidence, similarity = float(scores.probabilities[row].max()), float(scores.similarity[row])
        unsure = doubt(self.artefact, confidence, similarity)
        return Turn(text, probabilities, unsure, neighbours(self.artefact, scores, row))

    def _decide(self, query: Query, plan: _Plan, turns: Mapping[str, Turn]) -> Decision:
        previous = plan.remembered
        for step in plan.earlier:
            previous = self.policy.after(self._decide_step(step, turns, query.snapshot, previous), previous)
        decision = self._decide_step(plan.last, turns, query.snapshot, previous)
        if query.only_explains:
            return replace(decision, nearest=with_texts(decision.nearest))
        self._memory.remember(query, decision.why, self.policy.after(decision, previous))
        return decision

    def _decide_step(
        self, step: _Step, turns: Mapping[str, Turn], snapshot: Snapshot, previous: Previous | None
    ) -> Decision:
        turn = turns.get(step.text) or Turn(step.text, {}, "")
        return step.decision or self.policy.decide(turn, snapshot, previous)


class GeneralOnly:
    """A router without a classifier: the expert named, mentioned or ruled, else the general one. Loads no torch."""

    categories: tuple[str, ...] = ()

    def __init__(self, *, general: str, names: Mapping[str, str]) -> None:
        self._policy = Policy(Directory(names, general))

    @classmethod
    def with_policy(cls, policy: Policy, categories: Sequence[str] = ()) -> Self:
        """Return one with rules; `categories` are those that they may name. Raises ValueError for others."""
        general = policy.directory.general
        router = cls(general=general, names={general: general})
        router._policy = policy.checked(categories)
        return router

    def route(self, queries: Sequence[Query]) -> list[Decision]:
        """Return one decision per query; raises ValueError for an expert nobody knows."""
        return [self._decide(query) for query in queries]

    def _decide(self, query: Query) -> Decision:
        general = self._policy.directory.general
        because = f"nobody is named, {general} answers"
        unnamed = Decision(general, None, None, "general", last_user_turn(query.messages), because=because)
        return self._policy.before_classifying(query) or unnamed
