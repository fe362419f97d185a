"""What a unit is worth, by value and by last use."""

from __future__ import annotations

from collections import Counter

from coe.weights.residency.eviction import LruEviction, ValueEviction
from coe.weights.residency.recency import Recency
from coe.weights.residency.unit_index import UnitIndex
from coe.weights.unit import Unit


class Fixed:
    """A forecast with given chances that counts how often it is asked."""

    def __init__(self, **chances: float) -> None:
        self._chances = chances
        self.asked: Counter[str] = Counter()

    def chance(self, expert: str) -> float:
        self.asked[expert] += 1
        return self._chances[expert]


def index_of(**experts: str) -> UnitIndex:
    """One unit for each letter; its hash is the letter."""
    index = UnitIndex()
    for name, letters in experts.items():
        index.register(name, [Unit(f"layer.{at}", letter, 10, ()) for at, letter in enumerate(letters)])
    return index


def test_a_units_value_is_its_reload_time_times_the_chances_of_all_its_users() -> None:
    seconds = {"c": 2.0, "x": 3.0, "y": 1.0}
    eviction = ValueEviction(index_of(a="cx", b="cy"), Fixed(a=0.5, b=0.25), seconds.__getitem__)
    assert eviction.worths("cxy") == {"c": 1.5, "x": 1.5, "y": 0.25}
    assert eviction.worth_of_wanted("x") == 1.5, "worth as much on its way as it is when it is there"


def test_the_forecast_is_asked_once_for_each_expert() -> None:
    forecast = Fixed(a=0.5, b=0.25)
    ValueEviction(index_of(a="cxyz", b="cvw"), forecast).worths("cxyzvw")
    assert forecast.asked == {"a": 1, "b": 1}


def test_by_last_use_a_shared_unit_is_worth_its_latest_user_and_an_unused_one_nothing() -> None:
    recency = Recency()
    eviction = LruEviction(index_of(a="cx", b="cy", never="z"), recency)
    recency.touch("a", 1.0)
    recency.touch("b", 5.0)
    assert eviction.worths("cxyz") == {"c": 5.0, "x": 1.0, "y": 5.0, "z": float("-inf")}


def test_by_last_use_a_wanted_unit_is_worth_more_than_any_other() -> None:
    recency = Recency()
    eviction = LruEviction(index_of(a="x"), recency)
    recency.touch("a", 1e12)
    assert eviction.worth_of_wanted("x") > eviction.worths("x")["x"]
