"""Conversations: which one a query belongs to, and what was asked in it before.

No state is needed: the earlier user turns are routed again, in order, and give the expert that answered last.
`ConversationMemory` is a bounded shortcut. It saves that encoding, and it knows what cannot be recomputed: which
experts were resident then, and which one a client named in an earlier request. Covered: the last 8 answered turns, and
all of them while the memory holds the conversation. Knows nothing about classifiers.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from coe.types import Message, RouteQuery
from router.turn import Previous

__all__ = ["DEFAULT_STICKINESS", "ConversationMemory", "earlier_requests"]

DEFAULT_STICKINESS = 0.5  # docs/routing.md, "The decision", has what others would cost
MAX_REPLAYED = 8
MAX_CONVERSATIONS = 4096
NAMED = ("model", "mention")  # a client's choice: not remembered for other clients that send the same messages


def earlier_requests(messages: tuple[Message, ...]) -> list[tuple[Message, ...]]:
    """Return the conversation as it was at each of its last answered requests, oldest first."""
    answers = [at for at, message in enumerate(messages) if message.role == "assistant"]
    asked = [at for at in answers if at and messages[at - 1].role != "assistant"]
    return [messages[:at] for at in asked[-MAX_REPLAYED:]]


class ConversationMemory:
    """The expert that answered last, by conversation; the least recently used conversation is forgotten first.

    A conversation is known by the client's name for it, else by its messages before the last answer: its last request
    ended with them. It is remembered for its owner alone. One thread may use it at a time.
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
            key = named_key(query.conversation, query.owner)
        elif past:
            key = key_of(past[-1], query.owner)
        else:
            return None
        last = self._last.get(key)
        if last is not None:
            self._last.move_to_end(key)
        return last

    def remember(self, query: RouteQuery, why: str, last: Previous) -> None:
        """Remember the expert that this turn was routed to for the next one."""
        if query.conversation is not None:
            key = named_key(query.conversation, query.owner)
        elif why not in NAMED:
            key = key_of(query.messages, query.owner)
        else:
            return
        self._last[key] = last
        self._last.move_to_end(key)
        while len(self._last) > self._max:
            self._last.popitem(last=False)


def named_key(name: str, owner: str) -> bytes:
    """Return a hash of a conversation's name and of who may go on with it."""
    return hashlib.blake2b(f"{len(owner)} {owner}{name}".encode("utf-8", "replace"), digest_size=16).digest()


def key_of(messages: tuple[Message, ...], owner: str) -> bytes:
    """Return a hash of roles, contents and owner; the lengths in it keep them apart."""
    digest = hashlib.blake2b(f"{len(owner)} {owner}".encode("utf-8", "replace"), digest_size=16, person=b"messages")
    for message in messages:
        content = message.content.encode("utf-8", "replace")
        digest.update(f"{message.role} {len(content)} ".encode())
        digest.update(content)
    return digest.digest()
