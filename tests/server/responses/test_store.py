"""Responses are kept under a limit of bytes, the last used the longest, and each key sees its own alone."""

from __future__ import annotations

import random
from typing import Any

import pytest

from coe.errors import UnknownRequestError
from server.responses.store import OVERHEAD_BYTES, ResponseStore


def body(name: str, size: int = 0) -> dict[str, Any]:
    return {"id": name, "output": [{"text": "a" * size}]}


def test_a_response_comes_back_with_its_whole_conversation() -> None:
    store = ResponseStore(1 << 20)
    store.keep("me", body("r"), [{"id": "i"}])
    kept = store.find("me", "r")
    assert kept.input_items == [{"id": "i"}]
    assert kept.items == [{"id": "i"}, {"text": ""}]


def test_another_key_finds_and_deletes_nothing() -> None:
    store = ResponseStore(1 << 20)
    store.keep("me", body("r"), [])
    for refused in (store.find, store.delete):
        with pytest.raises(UnknownRequestError, match="no response 'r' of yours"):
            refused("you", "r")
    store.delete("me", "r")
    assert (len(store), store.used_bytes) == (0, 0)
    with pytest.raises(UnknownRequestError):
        store.delete("me", "r")


def test_what_was_not_used_for_the_longest_goes_first() -> None:
    store = ResponseStore(3 * (OVERHEAD_BYTES + 100))
    for name in "abc":
        store.keep("me", body(name), [])
    store.find("me", "a")
    store.keep("me", body("d", 50), [])
    with pytest.raises(UnknownRequestError):
        store.find("me", "b")
    assert store.find("me", "a")


def test_a_response_without_room_is_not_kept() -> None:
    for budget in (0, OVERHEAD_BYTES):
        store = ResponseStore(budget)
        store.keep("me", body("r"), [])
        assert len(store) == 0


@pytest.mark.parametrize("seed", range(5))
def test_the_books_balance_after_every_event(seed: int) -> None:
    chance, store = random.Random(seed), ResponseStore(20_000)
    for number in range(300):
        owner = chance.choice("xy")
        if chance.random() < 0.7:
            store.keep(owner, body(str(number), chance.randrange(9000)), [])
        else:
            try:
                store.delete(owner, str(chance.randrange(number + 1)))
            except UnknownRequestError:
                continue
        kept = list(store._kept.values())
        assert store.used_bytes == sum(each.size_bytes for each in kept) <= 20_000
