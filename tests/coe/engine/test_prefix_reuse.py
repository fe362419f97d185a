"""Kept KV: what is found, what goes first, and that the bytes are right after every step of a random run."""

from __future__ import annotations

import random

import pytest

from coe.engine.prefix_reuse import MIN_TOKENS, PrefixCache, Shelf

MATH, CODE = Shelf("math", ""), Shelf("code", "")


class Kv:
    """Stands for a KV: only its identity counts here."""

    def __init__(self, length: int) -> None:
        self.length = length


def tokens(*runs: tuple[int, int]) -> tuple[int, ...]:
    """(value, count) pairs to token ids."""
    return tuple(value for value, count in runs for _ in range(count))


def test_longest_common_beginning_of_the_same_expert_and_group_is_found() -> None:
    kept = PrefixCache()
    short, long, other = Kv(20), Kv(60), Kv(60)
    kept.put(MATH, tokens((1, 20), (9, 20)), short, 1)
    kept.put(MATH, tokens((1, 40), (2, 20)), long, 1)
    kept.put(CODE, tokens((1, 60)), other, 1)
    assert kept.longest(MATH, tokens((1, 40), (3, 5))) == (long, 40)
    assert kept.longest(MATH, tokens((1, 20), (9, 3))) == (short, 23)
    assert kept.longest(CODE, tokens((1, 100))) == (other, 60)
    for elsewhere in (Shelf("sql", ""), Shelf("math", "another key")):
        assert kept.longest(elsewhere, tokens((1, 60))) is None


@pytest.mark.parametrize(("shared", "is_found"), [(MIN_TOKENS - 1, False), (MIN_TOKENS, True)])
def test_a_few_tokens_are_not_worth_it(shared: int, is_found: bool) -> None:
    kept = PrefixCache()
    kept.put(MATH, tokens((1, 50)), Kv(50), 1)
    assert (kept.longest(MATH, tokens((1, shared), (2, 50))) is not None) == is_found


def test_the_next_turn_takes_the_place_of_the_last() -> None:
    kept = PrefixCache()
    kept.put(MATH, tokens((1, 30)), Kv(30), 30)
    kept.put(MATH, tokens((1, 30), (2, 10)), Kv(40), 40)
    assert kept.used_bytes == 40


def test_least_recently_used_goes_first() -> None:
    kept = PrefixCache()
    for value in (1, 2, 3):
        kept.put(MATH, tokens((value, 30)), Kv(30), 10)
    kept.longest(MATH, tokens((1, 30)))
    kept.trim(20)
    assert [kept.longest(MATH, tokens((value, 30))) is not None for value in (1, 2, 3)] == [True, False, True]


def test_bytes_are_right_after_every_step_of_a_random_run() -> None:
    stream, kept = random.Random(5), PrefixCache()
    for _ in range(500):
        ids = tuple(stream.choices((1, 2), k=stream.randint(1, 40)))
        if stream.random() < 0.5:
            kept.put(Shelf(stream.choice("ab"), stream.choice("xy")), ids, Kv(len(ids)), len(ids))
        elif stream.random() < 0.5:
            found = kept.longest(Shelf("a", "x"), ids)
            assert found is None or MIN_TOKENS <= found.num_tokens <= len(ids)
        else:
            kept.trim(stream.randint(0, 300))
        kept.check_integrity()
