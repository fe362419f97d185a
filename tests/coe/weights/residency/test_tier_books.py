"""The books of one tier: eviction order, sharing, leases, pins, budgets."""

from __future__ import annotations

import random

import pytest

from coe.weights.residency.claims import Claim
from coe.weights.residency.eviction import LruEviction
from coe.weights.residency.recency import Recency
from coe.weights.residency.tier_books import TierBooks
from coe.weights.residency.unit_index import UnitIndex
from coe.weights.unit import Unit


def unit(name: str, size: int = 10) -> Unit:
    return Unit(name, f"hash-of-{name}", size, ())


def expert(name: str, count: int = 3, shared: Unit | None = None) -> tuple[Unit, ...]:
    own = tuple(unit(f"{name}.{index}") for index in range(count))
    return (shared, *own) if shared else own


def lru_books(budget: int, recency: Recency | None = None) -> TierBooks:
    index = UnitIndex()
    return TierBooks.of(budget, index, LruEviction(index, recency or Recency()))


def fill(books: TierBooks, *units: Unit) -> None:
    for each in units:
        if books.residents.is_absent(each):
            books.residents.reserve(each)
            books.residents.commit(each)


def test_least_recently_used_expert_goes_first_and_its_tail_before_its_head() -> None:
    recency = Recency()
    books, a, b = lru_books(60, recency), expert("a"), expert("b")
    books.units.register("a", a)
    books.units.register("b", b)
    fill(books, *a, *b)
    recency.touch("a", 2.0)
    recency.touch("b", 1.0)
    assert books.eviction.victims(20) == [b[2].hash, b[1].hash]
    assert books.eviction.victims(40) == [b[2].hash, b[1].hash, b[0].hash, a[2].hash]
    assert books.eviction.victims(70) is None


def test_shared_unit_counts_once_and_is_worth_its_most_recent_user() -> None:
    common = unit("common", 30)
    recency = Recency()
    books, a, b = lru_books(100, recency), expert("a", shared=common), expert("b", shared=common)
    books.units.register("a", a)
    books.units.register("b", b)
    fill(books, *a, *b)
    assert books.residents.used_bytes == 30 + 30 + 30
    assert books.units.shared_bytes("a") == 30
    recency.touch("a", 1.0)
    recency.touch("b", 9.0)
    victims = books.eviction.victims(50)
    assert victims is not None
    assert common.hash not in victims


def test_lease_of_any_user_protects_a_shared_unit() -> None:
    common = unit("common")
    books, a, b = lru_books(100), expert("a", shared=common), expert("b", shared=common)
    books.units.register("a", a)
    books.units.register("b", b)
    fill(books, *a, *b)
    claim = books.claims.lease("b")
    assert common.hash not in books.eviction.unloadable("a")
    books.claims.unlease("b", claim)
    assert common.hash not in books.eviction.unloadable("a"), "b is here and needs it"
    for each in b[1:]:
        books.residents.drop(each.hash)
    assert common.hash in books.eviction.unloadable("a")


def test_leased_pinned_and_arriving_units_are_never_victims() -> None:
    books, a, b, c = lru_books(90), expert("a"), expert("b"), expert("c")
    for name, units in (("a", a), ("b", b), ("c", c)):
        books.units.register(name, units)
    fill(books, *a, *b)
    books.claims.lease("a")
    books.claims.pin("b")
    books.residents.reserve(c[0])
    assert books.eviction.victims(30) is None
    assert books.eviction.victims(20) == []


def test_a_lease_is_possible_only_beside_what_is_leased_or_pinned() -> None:
    books, a, b, c = lru_books(60), expert("a"), expert("b"), expert("c")
    for name, units in (("a", a), ("b", b), ("c", c)):
        books.units.register(name, units)
    books.claims.lease("a")
    books.claims.pin("b")
    assert books.claims.can_lease("b")
    assert not books.claims.can_lease("c")
    assert books.claims.can_lease("c", giving_up=["a"])


def test_a_unit_that_arrives_after_its_lease_is_protected() -> None:
    books, a = lru_books(30), expert("a")
    books.units.register("a", a)
    books.claims.lease("a")
    fill(books, *a)
    assert books.eviction.victims(10) is None


@pytest.mark.parametrize("seed", range(4))
def test_books_balance_through_random_events(seed: int) -> None:
    chance = random.Random(seed)
    common = unit("common", 20)
    experts = {
        name: expert(name, chance.randrange(1, 6), common if chance.random() < 0.5 else None) for name in "abcdef"
    }
    recency = Recency()
    books = lru_books(120, recency)
    for name, units in experts.items():
        books.units.register(name, units)
    leased: list[tuple[str, Claim]] = []
    arriving: list[Unit] = []
    for step in range(2000):
        name = chance.choice("abcdef")
        kind = chance.randrange(6)
        if kind == 0 and books.claims.can_lease(name):
            leased.append((name, books.claims.lease(name)))
        elif kind == 1 and leased:
            books.claims.unlease(*leased.pop(chance.randrange(len(leased))))
        elif kind == 2:
            recency.touch(name, float(step))
        elif kind == 3 and arriving:
            books.residents.commit(arriving.pop())
        elif kind == 4:
            (books.claims.pin if chance.random() < 0.2 and books.claims.can_lease(name) else books.claims.unpin)(name)
        else:
            absent = [each for each in experts[name] if books.residents.is_absent(each)]
            victims = books.eviction.victims(absent[0].size_bytes) if absent else None
            for digest in victims or []:
                books.residents.drop(digest)
            if victims is not None:
                books.residents.reserve(absent[0])
                arriving.append(absent[0])
        books.check_integrity()
