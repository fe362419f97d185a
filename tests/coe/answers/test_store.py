"""Kept answers: the budget holds in bytes, the least recently used goes first, and nothing outlives its time."""

from __future__ import annotations

import gc
import random
import tracemalloc
from dataclasses import replace

import pytest

from coe.answers.store import AnswerStore, Kept

SIZE = Kept(b"", 0.0).size_bytes


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def test_the_least_recently_used_makes_room() -> None:
    store = AnswerStore(2 * SIZE, 60.0)
    for number in (1, 2):
        assert store.put(key(number), Kept(b"", 0.0))
    assert store.get(key(1), 1.0) is not None
    assert store.put(key(3), Kept(b"", 1.0))
    assert [store.get(key(number), 1.0) is not None for number in (1, 2, 3)] == [True, False, True]
    assert (store.num_evicted, store.num_expired) == (1, 0)


def test_nothing_is_given_after_its_time_however_often_it_is_used() -> None:
    store = AnswerStore(10 * SIZE, 60.0)
    store.put(key(1), Kept(b"a", 0.0, b"group"))
    assert store.get(key(1), 59.9) is not None
    assert store.get(key(1), 60.0) is None
    assert list(store.newest_of(b"group", 9, 60.0)) == []
    assert (store.used_bytes, store.num_evicted, store.num_expired) == (0, 0, 1)


def test_an_answer_larger_than_the_budget_is_not_kept_and_pushes_nothing_out() -> None:
    store = AnswerStore(2 * SIZE, 60.0)
    store.put(key(1), Kept(b"", 0.0))
    assert not store.put(key(2), Kept(bytes(2 * SIZE), 0.0))
    assert store.get(key(1), 0.0) is not None


def test_a_new_answer_takes_the_place_of_the_former_one() -> None:
    store = AnswerStore(10 * SIZE, 60.0)
    store.put(key(1), Kept(b"old", 0.0, b"a"))
    store.put(key(1), Kept(b"new", 50.0, b"b"))
    kept = store.get(key(1), 70.0)
    assert kept is not None
    assert kept.payload == b"new"
    assert list(store.newest_of(b"a", 9, 70.0)) == []
    store.check_integrity()


def test_the_newest_of_a_group_come_first_and_no_more_than_asked_for() -> None:
    store = AnswerStore(10 * SIZE, 60.0)
    for number in range(4):
        store.put(key(number), Kept(b"", float(number), b"group" if number else b"other"))
    assert [found for found, _ in store.newest_of(b"group", 2, 4.0)] == [key(3), key(2)]


def test_books_agree_after_every_random_event() -> None:
    rng = random.Random(0)
    store, now_s = AnswerStore(20 * SIZE, 8.0), 0.0
    for _ in range(2000):
        now_s += rng.random()
        which = key(rng.randrange(60))
        match rng.randrange(10):
            case 0 | 1 | 2 | 3 | 4:
                group = rng.choice([None, b"a", b"b"])
                vectors = (bytes(rng.randrange(300)),) if group else ()
                store.put(which, Kept(bytes(rng.randrange(2000)), now_s, group, "é" * rng.randrange(40), vectors))
            case 5 if rng.random() < 0.02:
                store.clear()
            case _:
                store.get(which, now_s)
        store.check_integrity()
    assert store.num_evicted
    assert store.num_expired


@pytest.mark.parametrize(("is_grouped", "per_group"), [(False, 1), (True, 1), (True, 50)])
def test_the_count_of_bytes_is_what_python_allocates(is_grouped: bool, per_group: int) -> None:
    """Never much less, and a tenth more at most: dictionaries grow in steps, and small groups take more tables."""
    num = 5000
    gc.collect()
    tracemalloc.start()
    try:
        store = AnswerStore(1 << 40, 1e9)
        before, _ = tracemalloc.get_traced_memory()
        for number in range(num):
            kept = Kept(b"%d" % number * 300, 0.0)
            if is_grouped:
                vectors = tuple(bytes([part]) * 1536 for part in range(3))
                kept = replace(kept, group=b"%032d" % (number // per_group), text=f"text {number}", vectors=vectors)
            assert store.put(b"%032d" % number, kept)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(store) == num
    assert 0.97 < store.used_bytes / (after - before) < 1.1
