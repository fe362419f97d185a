"""Which units leave, in what order: the least valuable first, and none that is protected, spared or worth too much."""

from __future__ import annotations

from coe.weights.residency.eviction import LruEviction
from coe.weights.residency.recency import Recency
from coe.weights.residency.tier_books import TierBooks
from coe.weights.residency.unit_index import UnitIndex
from coe.weights.unit import Unit


def full_books(**last_used_s: float) -> TierBooks:
    """Experts of three units of ten bytes, all resident, in a tier that is full; used at these times."""
    index, recency = UnitIndex(), Recency()
    books = TierBooks.of(30 * len(last_used_s), index, LruEviction(index, recency))
    for expert, used_s in last_used_s.items():
        index.register(expert, [Unit(f"layer.{at}", f"{expert}{at}", 10, ()) for at in range(3)])
        recency.touch(expert, used_s)
        for unit in index.of(expert):
            books.residents.reserve(unit)
            books.residents.commit(unit)
    return books


def test_nothing_leaves_when_the_bytes_fit() -> None:
    books = full_books(a=1.0)
    books.residents.drop("a2")
    assert books.eviction.victims(10) == []
    assert books.eviction.victims(11) == ["a1"]


def test_spared_experts_lose_nothing() -> None:
    books = full_books(a=1.0, b=2.0)
    assert books.eviction.victims(30, spared=["a"]) == ["b2", "b1", "b0"]
    assert books.eviction.victims(40, spared=["a"]) is None


def test_a_unit_worth_as_much_as_the_limit_stays() -> None:
    books = full_books(a=1.0, b=2.0)
    assert books.eviction.victims(30, below=2.0) == ["a2", "a1", "a0"]
    assert books.eviction.victims(31, below=2.0) is None


def test_enough_takes_the_first_victims_that_make_the_bytes_fit() -> None:
    books = full_books(a=1.0)
    assert books.eviction.enough(["a2", "a1", "a0"], 15) == ["a2", "a1"]
    books.residents.drop("a2")
    assert books.eviction.enough(["a1", "a0"], 10) == []


def test_a_loss_is_worth_times_bytes_and_only_of_units_that_may_leave() -> None:
    books = full_books(a=1.0, b=2.0, c=3.0)
    books.claims.pin("a")
    assert books.eviction.losses(below=3.0) == {"b0": 20.0, "b1": 20.0, "b2": 20.0}


def test_an_unloaded_expert_leaves_behind_what_others_here_use_or_a_claim_protects() -> None:
    books = full_books(a=1.0)
    books.units.register("b", [Unit("layer.0", "a0", 10, ()), Unit("layer.1", "b1", 10, ())])
    assert sorted(books.eviction.unloadable("a")) == ["a0", "a1", "a2"], "b has nothing of its own here"
    books.residents.drop("a2")
    books.residents.reserve(books.units["b1"])
    assert sorted(books.eviction.unloadable("a")) == ["a1"]
    assert books.eviction.unloadable("b") == [], "a0 is used by a, b1 has not arrived"
