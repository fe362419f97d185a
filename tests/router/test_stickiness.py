"""Conversations are known by their messages or their name, and the memory of them is bounded."""

from __future__ import annotations

from dataclasses import replace

from coe.types import Message, RouteQuery
from router.stickiness import MAX_REPLAYED, ConversationMemory, earlier_requests
from router.turn import Previous


def said(*turns: str, conversation: str | None = None) -> RouteQuery:
    """`u…`, `a…` and `s…` are turns of user, assistant and system."""
    roles = {"u": "user", "a": "assistant", "s": "system"}
    return RouteQuery(tuple(Message(roles[turn[0]], turn) for turn in turns), conversation=conversation)


def test_an_earlier_request_is_what_stood_before_an_answer() -> None:
    query = said("s", "u1", "a1", "a2", "u2", "u3", "a3", "u4")
    assert [[turn.content for turn in past] for past in earlier_requests(query.messages)] == [
        ["s", "u1"],
        ["s", "u1", "a1", "a2", "u2", "u3"],
    ]
    assert earlier_requests(said("u1", "u2").messages) == []
    assert earlier_requests(said("a1", "u2").messages) == []
    assert len(earlier_requests(said(*("u", "a") * 50).messages)) == MAX_REPLAYED


def test_a_conversation_is_known_by_its_messages_up_to_the_last_answer() -> None:
    memory = ConversationMemory()
    memory.remember(said("s", "u1"), "category", Previous("sql"))
    assert memory.recall(said("s", "u1", "a any answer", "u2")) == Previous("sql")
    for other in (said("s", "u1"), said("u1", "a1", "u2"), said("s", "u1x", "a1", "u2"), said("s", "u1", "u2", "a1")):
        assert memory.recall(other) is None


def test_a_conversation_is_its_owners_alone() -> None:
    memory = ConversationMemory()
    by_name, by_turns = said("u1", conversation="mine"), said("u1")
    for query in (by_name, by_turns):
        memory.remember(replace(query, owner="alice"), "category", Previous("sql"))
    for query in (said("u2", conversation="mine"), said("u1", "a1", "u2")):
        assert memory.recall(replace(query, owner="alice")) == Previous("sql")
        for other in ("bob", "", "alic"):
            assert memory.recall(replace(query, owner=other)) is None
    assert memory.recall(said("u2", conversation="emine")) is None
    shifted = replace(said("u2", conversation="emine"), owner="alic")
    assert memory.recall(shifted) is None


def test_turns_cannot_be_shifted_into_each_other() -> None:
    memory = ConversationMemory()
    memory.remember(RouteQuery((Message("user", "a"), Message("user", "b"))), "category", Previous("sql"))
    shifted = RouteQuery((Message("user", "auser 1 b"), Message("assistant", "x"), Message("user", "y")))
    assert memory.recall(shifted) is None


def test_a_name_of_the_clients_is_the_conversation_whatever_the_messages() -> None:
    memory = ConversationMemory()
    memory.remember(said("u1", conversation="c"), "model", Previous("sql"))
    assert memory.recall(said("u9", conversation="c")) == Previous("sql")
    assert memory.recall(said("u1", "a", "u2")) is None
    assert memory.recall(said("u1", "a", "u2", conversation="d")) is None


def test_the_last_decision_counts() -> None:
    memory = ConversationMemory()
    for expert in ("sql", "math"):
        memory.remember(said("u1"), "category", Previous(expert))
    assert memory.recall(said("u1", "a", "u2")) == Previous("math")


def test_the_one_not_asked_about_for_longest_is_forgotten_first() -> None:
    memory = ConversationMemory(max_conversations=2)
    for name in ("one", "two"):
        memory.remember(said("u", conversation=name), "category", Previous(name))
    assert memory.recall(said("u", conversation="one"))
    memory.remember(said("u", conversation="three"), "category", Previous("three"))
    assert len(memory) == 2
    assert memory.recall(said("u", conversation="two")) is None
    assert memory.recall(said("u", conversation="one")) == Previous("one")
