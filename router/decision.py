"""What a router answers, and the pure rules that lead there: explicit expert, mention, category, doubt.

Owns the order of the rules and what a mention looks like. Knows nothing about embeddings, files or torch: it sees
probabilities and numbers, and the same input gives the same decision.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["Decision", "Directory", "Mention", "Message", "Query", "decide_category", "last_user_turn"]

MENTION = re.compile(r"\s*@(\S+)\s*")
AFTER_NAME = ",:;.!?)"  # "@sql, list …" and "@sql: list …" name sql


class Message(Protocol):
    """One chat turn."""

    @property
    def role(self) -> str: ...
    @property
    def content(self) -> str: ...


class Query(Protocol):
    """A conversation, and the expert that the client named, if any."""

    @property
    def messages(self) -> Sequence[Message]: ...
    @property
    def expert(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Decision:
    """Who answers and why.

    `why` is "model" (the client named the expert), "mention" (a leading `@expert`), "category" (the classifier was
    sure, also where its category is mapped to nobody and the general expert answers), "abstain" (it was not sure, or
    the prompt is unlike anything seen) or "general" (nothing to classify). `text` is the last user turn as the expert
    should see it. `probabilities` covers every category where the classifier was asked, and is empty otherwise.
    """

    expert: str
    category: str | None
    confidence: float | None
    why: str
    text: str
    probabilities: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mention:
    """A leading `@name` that names an expert, and the turn without it."""

    expert: str
    text: str


class Directory:
    """Names and aliases, in any case, to experts."""

    def __init__(self, names: Mapping[str, str], general: str) -> None:
        self.experts = tuple(dict.fromkeys(names.values()))
        self._names = {name.casefold(): expert for name, expert in names.items()}
        self._names |= {expert.casefold(): expert for expert in self.experts}
        self.general = self.resolve(general, "general")

    def resolve(self, name: str, what: str = "expert") -> str:
        """Return the expert of a name or alias.

        Raises:
            ValueError: nobody has that name; the message lists those that exist.
        """
        expert = self._names.get(name.casefold())
        if expert is None:
            known = ", ".join(sorted(self.experts)) or "none"
            raise ValueError(f"{what} '{name}': no such expert; known experts: {known}")
        return expert

    def mention(self, text: str) -> Mention | None:
        """Return the expert that a leading `@name` names; None for any other text, also for an unknown `@name`."""
        match = MENTION.match(text)
        if match is None:
            return None
        word = match.group(1)
        bare = word.rstrip(AFTER_NAME)
        expert = self._names.get(word.casefold()) or self._names.get(bare.casefold())
        return Mention(expert, text[match.end() :]) if expert else None

    def before_classifying(self, query: Query) -> Decision | None:
        """Return the decision that needs no classifier, None if the last user turn has to be classified."""
        text = last_user_turn(query.messages)
        if query.expert is not None:
            return Decision(self.resolve(query.expert), None, None, "model", text)
        if mention := self.mention(text):
            return Decision(mention.expert, None, None, "mention", mention.text)
        if not text.strip():
            return Decision(self.general, None, None, "general", text)
        return None


def last_user_turn(messages: Iterable[Message]) -> str:
    """Return the content of the last turn whose role is "user", "" without one."""
    turns = [message.content for message in messages if message.role == "user"]
    return turns[-1] if turns else ""


def decide_category(
    text: str, probabilities: Mapping[str, float], is_sure: bool, mapping: Mapping[str, str], general: str
) -> Decision:
    """Return the decision for a classified turn; a category without an expert goes to `general`."""
    category = max(probabilities, key=lambda name: probabilities[name])
    confidence = probabilities[category]
    if not is_sure:
        return Decision(general, category, confidence, "abstain", text, probabilities)
    return Decision(mapping.get(category, general), category, confidence, "category", text, probabilities)
