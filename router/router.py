"""Routers: queries in, decisions out.

Owns the order of work for a batch (what needs no classifier, then one encoder call for every text that does, then the
decisions) and the memory of conversations. Knows nothing about servers or how experts run. Only `Router.load` and
`Router.with_policy` import torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from coe.types import Decision, RouteQuery, Snapshot
from router.directory import Directory
from router.encoding.text_encoder import TextEncoder
from router.encoding.vector_memory import OwnedText, VectorMemory
from router.model.artefact import Artefact, load_artefact
from router.model.scores import Scores, score
from router.model.system_turn import under_system
from router.model.wrapper import unwrapped
from router.neighbours import neighbours, with_texts
from router.policy import RoutingPolicy
from router.shadow import with_shadow
from router.stickiness import ConversationMemory, earlier_requests
from router.turn import Previous, Turn, last_user_turn, system_turn, user_turns
from router.wishes import wished

__all__ = ["GeneralOnly", "Router"]


class _Request(NamedTuple):
    """The last user turn of a request, the one before it, and the decision where that needs no classifier.

    `read` is what is classified: the turn without agents' wrappers (`alone`), under the system turn if there is one.
    """

    text: str
    read: str
    alone: str
    before: str
    decision: Decision | None
    is_under_way: bool = False

    @property
    def texts(self) -> tuple[str, ...]:
        """What has to be encoded for it."""
        if self.decision is not None or not self.text.strip():
            return ()
        return (self.read, self.alone, self.before) if self.before.strip() else (self.read,)


class _Conversation(NamedTuple):
    """What is known of a query before anything is encoded.

    `previous` is who answered last, from memory; without it `earlier` requests are routed again, oldest first.
    """

    request: _Request
    previous: Previous | None = None
    earlier: tuple[_Request, ...] = ()


class Router:
    """A trained classifier and a policy. One thread may use it at a time.

    With `shows_vectors` decisions carry what the encoder saw, some 4.6 KB each, for an answer cache that compares it.
    """

    def __init__(
        self, artefact: Artefact, encoder: TextEncoder, policy: RoutingPolicy, *, shows_vectors: bool = False
    ) -> None:
        artefact.check_encoder(encoder.id)
        self.artefact = artefact
        self.policy = policy.checked(artefact.categories)
        self._encoder = encoder
        self._shows_vectors = shows_vectors
        self._vectors = VectorMemory(encoder)
        self._memory = ConversationMemory()
        self._shadow: tuple[str, Router] | None = None

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
        policy = RoutingPolicy(Directory(names, general), mapping)
        return cls.with_policy(policy, load_artefact(artefact, min_confidence), device)

    @classmethod
    def with_policy(cls, policy: RoutingPolicy, artefact: Artefact, device: str = "cpu") -> Self:
        """Load the encoder that an artefact was trained with; raises ValueError as `RoutingPolicy.checked` does."""
        policy = policy.checked(artefact.categories)  # refuse it before the encoder is loaded
        from router.encoding.encoder import Encoder  # torch

        return cls(artefact, Encoder(artefact.encoder_source, device=device), policy)

    def decide_beside(self, version: str, artefact: Artefact, policy: RoutingPolicy) -> None:
        """Let another version decide every classified prompt, too, from the same vectors; nobody is answered by it.

        Raises:
            ValueError: another encoder, or a policy with categories that the version does not have.
        """
        self._shadow = version, Router(artefact, self._encoder, policy)

    @property
    def encoder(self) -> TextEncoder:
        """What prompts are encoded with; whatever else it does must leave this thread its own."""
        return self._encoder

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories of the classifier, in the order of its columns."""
        return self.artefact.categories

    def route(self, queries: Sequence[RouteQuery]) -> list[Decision]:
        """Return one decision per query, with one encoder call for all that need one.

        Raises:
            UnknownExpertError: a query names an expert that the directory does not have.
        """
        conversations = [self._conversation(query) for query in queries]
        asked = [
            (request, query.owner)
            for query, each in zip(queries, conversations, strict=True)
            for request in (each.request, *each.earlier)
        ]
        vectors = self._encoded([OwnedText(text, owner) for request, owner in asked for text in request.texts])
        turns = self._turns([request for request, _ in asked if request.texts], vectors)
        decisions = [
            self._seen(self._decide(query, each, turns), each.request, vectors)
            for query, each in zip(queries, conversations, strict=True)
        ]
        if self._shadow is None:
            return decisions
        version, shadow = self._shadow
        return with_shadow(decisions, version, lambda: shadow._decided_alike(queries, conversations, vectors))

    def _decided_alike(
        self,
        queries: Sequence[RouteQuery],
        conversations: Sequence[_Conversation],
        vectors: Mapping[str, NDArray[np.float32]],
    ) -> list[Decision]:
        """Return what this router decides of conversations that another one has read, encoded and remembers."""
        requests = [request for each in conversations for request in (each.request, *each.earlier)]
        turns = self._turns([request for request in requests if request.texts], vectors)
        return [
            self._decide_request(each.request, turns, query.snapshot, self._before(query, each, turns))
            for query, each in zip(queries, conversations, strict=True)
        ]

    def _seen(self, decision: Decision, request: _Request, vectors: Mapping[str, NDArray[np.float32]]) -> Decision:
        """Return the decision with what the encoder saw of the turn that was classified, around the centre.

        Not of a turn in a wrapper: the encoder did not see all that the expert sees.
        """
        if not self._shows_vectors or not request.texts or request.alone != request.text:
            return decision
        seen = self.artefact.model.centred(vectors[request.read][None]).astype(np.float32)
        parts = seen.reshape(-1, len(self.artefact.follow_up.centre))
        return replace(decision, vectors=tuple(part.tobytes() for part in parts))

    def _encoded(self, texts: Sequence[OwnedText]) -> Mapping[str, NDArray[np.float32]]:
        """Return the (dims,) vector of each text, with one encoder call."""
        distinct = list(dict.fromkeys(texts))
        if not distinct:
            return {}
        return {each.text: vector for each, vector in zip(distinct, self._vectors.encode(distinct), strict=True)}

    def _turns(
        self, requests: Sequence[_Request], vectors: Mapping[str, NDArray[np.float32]]
    ) -> Mapping[_Request, Turn]:
        """Classify each distinct request."""
        distinct = list(dict.fromkeys(requests))
        if not distinct:
            return {}
        read = [request.read for request in distinct]
        scores = score(self.artefact, np.stack([vectors[text] for text in read]), read)
        chances = self._follow_up_chances(distinct, vectors)
        return {request: self._turn(request.text, scores, row, chances[row]) for row, request in enumerate(distinct)}

    def _follow_up_chances(
        self, requests: Sequence[_Request], vectors: Mapping[str, NDArray[np.float32]]
    ) -> list[float]:
        """Return the chance that each turn needs the one before it."""
        hidden = len(self.artefact.follow_up.centre)
        unknown = np.zeros(hidden, np.float32)
        first = [vectors[each.before][:hidden] if each.before.strip() else unknown for each in requests]
        second = [vectors[each.alone if each.before.strip() else each.read][:hidden] for each in requests]
        chances: list[float] = self.artefact.follow_up.chances(np.stack(first), np.stack(second)).tolist()
        return chances

    def _conversation(self, query: RouteQuery) -> _Conversation:
        request = self._request(query)
        if request.decision is not None or not self.policy.stickiness:
            return _Conversation(request._replace(before=""))  # nothing is compared with the turn before
        if previous := self._memory.recall(query):
            return _Conversation(request, previous)
        # an earlier request may have named an expert: that is not known here
        earlier = [replace(query, messages=past) for past in earlier_requests(query.messages)]
        return _Conversation(request, earlier=tuple(map(self._request, earlier)))

    def _request(self, query: RouteQuery) -> _Request:
        turns = user_turns(query.messages)
        text, before = (turns[-1] if turns else ""), (turns[-2] if len(turns) > 1 else "")
        alone = unwrapped(text)
        read = under_system(system_turn(query.messages), alone)
        is_under_way = any(message.role == "tool" for message in query.messages[-1:])
        return _Request(text, read, alone, unwrapped(before), self.policy.before_classifying(query), is_under_way)

    def _turn(self, text: str, scores: Scores, row: int, follow_up: float) -> Turn:
        probabilities = dict(zip(self.categories, scores.probabilities[row].tolist(), strict=True))
        confidence = float(scores.confidence[row])
        doubt = self.artefact.abstain.doubt(confidence)
        return Turn(text, probabilities, doubt, neighbours(self.artefact, scores, row), confidence, follow_up)

    def _decide(self, query: RouteQuery, conversation: _Conversation, turns: Mapping[_Request, Turn]) -> Decision:
        previous = self._before(query, conversation, turns)
        decision = self._decide_request(conversation.request, turns, query.snapshot, previous)
        decision = wished(decision, query, self.policy.mapping, self.policy.directory)
        if query.only_explains:
            return replace(decision, nearest=with_texts(self.artefact, decision.nearest))
        self._memory.remember(query, decision.why, self.policy.after(decision, previous))
        return decision

    def _before(
        self, query: RouteQuery, conversation: _Conversation, turns: Mapping[_Request, Turn]
    ) -> Previous | None:
        """Return who answered last: from memory, else by deciding the earlier requests again."""
        previous = conversation.previous
        for request in conversation.earlier:
            previous = self.policy.after(self._decide_request(request, turns, query.snapshot, previous), previous)
        return previous

    def _decide_request(
        self, request: _Request, turns: Mapping[_Request, Turn], snapshot: Snapshot, previous: Previous | None
    ) -> Decision:
        if request.decision is not None:
            return request.decision
        turn = turns.get(request) or Turn(request.text, {}, "", follow_up=1.0)
        return self.policy.decide(replace(turn, is_under_way=request.is_under_way), snapshot, previous)


class GeneralOnly:
    """A router without a classifier: the expert named, mentioned or ruled, else the general one. Loads no torch."""

    categories: tuple[str, ...] = ()

    def __init__(self, *, general: str, names: Mapping[str, str]) -> None:
        self._policy = RoutingPolicy(Directory(names, general))

    @classmethod
    def with_policy(cls, policy: RoutingPolicy, categories: Sequence[str] = ()) -> Self:
        """Return one with rules; `categories` are those that rules may name. Raises ValueError for others."""
        general = policy.directory.general
        router = cls(general=general, names={general: general})
        router._policy = policy.checked(categories)
        return router

    def route(self, queries: Sequence[RouteQuery]) -> list[Decision]:
        """Return one decision per query; raises UnknownExpertError as `Router.route` does."""
        return [self._decide(query) for query in queries]

    def _decide(self, query: RouteQuery) -> Decision:
        general = self._policy.directory.general
        because = f"no expert is named, {general} answers"
        unnamed = Decision(general, None, None, "general", last_user_turn(query.messages), because=because)
        decision = self._policy.before_classifying(query) or unnamed
        return wished(decision, query, {}, self._policy.directory)
