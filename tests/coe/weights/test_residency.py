"""One tier's books: eviction order, sharing, leases, pins, budgets."""

from __future__ import annotations

import random

import pytest

from coe.weights.residency import Claim, Pool
from coe.weights.unit import Unit


def unit(name: str, size: int = 10) -> Unit:
    return Unit(name, f"hash-of-{name}", size, ())


def expert(name: str, count: int = 3, shared: Unit | None = None) -> tuple[Unit, ...]:
    own = tuple(unit(f"{name}.{index}") for index in range(count))
    return (shared, *own) if shared else own


def fill(pool: Pool, *units: Unit) -> None:
    for each in units:
        if pool.is_absent(each):
            pool.reserve(each)
            pool.commit(each)


def test_least_recently_used_expert_goes_first_and_its_tail_before_its_head() -> None:
    pool, a, b = Pool(60), expert("a"), expert("b")
    pool.register("a", a)
    pool.register("b", b)
    fill(pool, *a, *b)
    pool.touch("a", 2.0)
    pool.touch("b", 1.0)
    assert pool.victims(20) == [b[2].hash, b[1].hash]
    assert pool.victims(40) == [b[2].hash, b[1].hash, b[0].hash, a[2].hash]
    assert pool.victims(70) is None


def test_shared_unit_counts_once_and_is_worth_its_most_recent_user() -> None:
    common = unit("common", 30)
    pool, a, b = Pool(100), expert("a", shared=common), expert("b", shared=common)
    pool.register("a", a)
    pool.register("b", b)
    fill(pool, *a, *b)
    assert pool.used_bytes == 30 + 30 + 30
    assert pool.shared_bytes("a") == 30
    pool.touch("a", 1.0)
    pool.touch("b", 9.0)
    victims = pool.victims(50)
    assert victims is not None
    assert common.hash not in victims


def test_lease_of_any_user_protects_a_shared_unit() -> None:
    common = unit("common")
    pool, a, b = Pool(100), expert("a", shared=common), expert("b", shared=common)
    pool.register("a", a)
    pool.register("b", b)
    fill(pool, *a, *b)
    claim = pool.lease("b")
    assert common.hash not in pool.evictable_of("a")
    pool.unlease("b", claim)
    assert common.hash not in pool.evictable_of("a"), "b is here and needs it"
    for each in b[1:]:
        pool.drop(each.hash)
    assert common.hash in pool.evictable_of("a")


def test_leased_pinned_and_arriving_units_are_never_victims() -> None:
    pool, a, b, c = Pool(90), expert("a"), expert("b"), expert("c")
    for name, units in (("a", a), ("b", b), ("c", c)):
        pool.register(name, units)
    fill(pool, *a, *b)
    pool.lease("a")
    pool.pin("b")
    pool.reserve(c[0])
    assert pool.victims(30) is None
    assert pool.victims(20) == []


def test_a_lease_is_possible_only_beside_what_is_leased_or_pinned() -> None:
    pool, a, b, c = Pool(60), expert("a"), expert("b"), expert("c")
    for name, units in (("a", a), ("b", b), ("c", c)):
        pool.register(name, units)
    pool.lease("a")
    pool.pin("b")
    assert pool.can_lease("b")
    assert not pool.can_lease("c")
    assert pool.can_lease("c", giving_up=["a"])


def test_a_unit_that_arrives_after_its_lease_is_protected() -> None:
    pool, a = Pool(30), expert("a")
    pool.register("a", a)
    pool.lease("a")
    fill(pool, *a)
    assert pool.victims(10) is None


@pytest.mark.parametrize("seed", range(4))
def test_books_balance_through_random_events(seed: int) -> None:
    chance = random.Random(seed)
    common = unit("common", 20)
    experts = {
        name: expert(name, chance.randrange(1, 6), common if chance.random() < 0.5 else None) for name in "abcdef"
    }
    pool = Pool(120)
    for name, units in experts.items():
        pool.register(name, units)
    leased: list[tuple[str, Claim]] = []
    arriving: list[Unit] = []
    for step in range(2000):
        name = chance.choice("abcdef")
        kind = chance.randrange(6)
        if kind == 0 and pool.can_lease(name):
            leased.append((name, pool.lease(name)))
        elif kind == 1 and leased:
            pool.unlease(*leased.pop(chance.randrange(len(leased))))
        elif kind == 2:
            pool.touch(name, float(step))
        elif kind == 3 and arriving:
            pool.commit(arriving.pop())
        elif kind == 4:
            (pool.pin if chance.random() < 0.2 and pool.can_lease(name) else pool.unpin)(name)
        else:
            absent = [each for each in experts[name] if pool.is_absent(each)]
            victims = pool.victims(absent[0].size_bytes) if absent else None
            for digest in victims or []:
                pool.drop(digest)
            if victims is not None:
                pool.reserve(absent[0])
                arriving.append(absent[0])
        pool.check_integrity()
