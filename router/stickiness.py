"""Conversations: which one a query belongs to, what was asked in it before, and when its topic has clearly moved.

No state is needed: the earlier user turns are routed again, in order, and give the expert that answered last.
`ConversationMemory` is a bounded shortcut. It saves that encoding, and it knows what cannot be recomputed: which
experts were resident then, and which one a client named in an earlier request. Covered: the last 8 answered turns, and
all of them while the memory holds the conversation. Knows nothing about classifiers: it sees probabilities.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping

from coe.types import Message, RouteQuery
from router.turn import Previous

__all__ = ["DEFAULT_STICKINESS", "ConversationMemory", "carries_topic", "earlier_requests", "topic_shift"]

DEFAULT_STICKINESS = 0.6  # docs/routing.md, "The decision", has what others would cost
MIN_TOPIC_BYTES = 24
MAX_REPLAYED = 8
MAX_CONVERSATIONS = 4096
NAMED = ("model", "mention")  # a client's choice: not remembered for other clients that send the same messages


def topic_shift(
    probabilities: Mapping[str, float], mapping: Mapping[str, str], general: str, previous: Previous
) -> float:
    """Return how much likelier the likeliest category is than the conversation's, -1 … 1.

    The conversation's are the category of its last clear turn and all categories of its expert. The former need not be
    among the latter: an expert that answers because it is resident is not the one that the category is mapped to.
    """
    own = sum(
        value
        for category, value in probabilities.items()
        if category == previous.category or mapping.get(category, general) == previous.expert
    )
    return max(probabilities.values(), default=0.0) - own


def carries_topic(text: str) -> bool:
    """Return whether a turn is long enough to change the topic: "thanks" and "und auf Deutsch?" are not.

    In bytes of UTF-8, because a script that needs fewer characters has more bytes in each.
    """
    return len(text.strip().encode("utf-8", "replace")) >= MIN_TOPIC_BYTES


def earlier_requests(messages: tuple[Message, ...]) -> list[tuple[Message, ...]]:
    """Return the conversation as it was at each of its last answered requests, oldest first."""
    answers = [at for at, message in enumerate(messages) if message.role == "assistant"]
    asked = [at for at in answers if at and messages[at - 1].role != "assistant"]
    return [messages[:at] for at in asked[-MAX_REPLAYED:]]


class ConversationMemory:
    """The expert that answered last, by conversation; the least recently used conversation is forgotten first.

    A conversation is known by the client's name for it, else by its messages before the last answer: its last request
    ended with them. One thread may use it at a time.
    """

    def __init__(self, max_conversations: int = MAX_CONVERSATIONS) -> None:
        self._max = max_conversations
        self._last: OrderedDict[bytes, Previous] = OrderedDict()

    def __len__(self) -> int:
        return len(self._last)

    def recall(self, query: RouteQuery) -> Previous | None:
        """Return what is remembered of the conversation's last turn, None where nothing is."""
        past = earlier_requests(query.messages)
        if query.conversation is not None:
            key = named_key(query.conversation)
        elif past:
            key = key_of(past[-1])
        else:
            return None
        last = self._last.get(key)
        if last is not None:
            self._last.move_to_end(key)
        return last

    def remember(self, query: RouteQuery, why: str, last: Previous) -> None:
        """Remember the expert that this turn was routed to for the next one."""
        if query.conversation is not None:
            key = named_key(query.conversation)
        elif why not in NAMED:
            key = key_of(query.messages)
        else:
            return
        self._last[key] = last
        self._last.move_to_end(key)
        while len(self._last) > self._max:
            self._last.popitem(last=False)


def named_key(name: str) -> bytes:
    return hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=16, person=b"name").digest()


def key_of(messages: tuple[Message, ...]) -> bytes:
    """Return a hash of roles and contents; the lengths in it keep turns apart."""
    digest = hashlib.blake2b(digest_size=16, person=b"messages")
    for message in messages:
        content = message.content.encode("utf-8", "replace")
        digest.update(f"{message.role} {len(content)} ".encode())
        digest.update(content)
    return digest.digest()
