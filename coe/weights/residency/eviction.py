"""Two ways to say what a byte of each unit of a tier is worth: eviction takes the least valuable units first.

`ValueEviction`: a unit is worth the seconds to bring a byte of it back times the chance that it is wanted, summed over
the experts that use it. `LruEviction`, the baseline: a unit is worth the latest use of any of them. Knows nothing about
budgets, leases or which units may leave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from coe.weights.residency.recency import Recency
from coe.weights.residency.unit_index import UnitIndex

__all__ = ["Eviction", "Forecast", "LruEviction", "ValueEviction"]


class Eviction(Protocol):
    """Values units against each other; only the order of the numbers counts, and their size where bytes are weighed."""

    def worths(self, unit_hashes: Iterable[str]) -> dict[str, float]:
        """Return what a byte of each of these units is worth where it is."""
        ...

    def worth_of_wanted(self, unit_hash: str) -> float:
        """Return what a byte of a unit that should come is worth; whatever is worth less may leave for it."""
        ...


class Forecast(Protocol):
    """Says how soon an expert will be wanted: `Popularity`, or one that knows the future."""

    def chance(self, expert: str) -> float:
        """Return one over the number of requests until the expert is wanted."""
        ...


class ValueEviction:
    """`reload_s_per_byte` returns, by unit hash, the seconds that a byte of an evicted unit takes to come back."""

    def __init__(
        self, units: UnitIndex, forecast: Forecast, reload_s_per_byte: Callable[[str], float] = lambda _: 1.0
    ) -> None:
        self._units, self._forecast, self._reload_s_per_byte = units, forecast, reload_s_per_byte

    def worths(self, unit_hashes: Iterable[str]) -> dict[str, float]:
        chances: dict[str, float] = {}
        return {unit_hash: self._worth(unit_hash, chances) for unit_hash in unit_hashes}

    def worth_of_wanted(self, unit_hash: str) -> float:
        return self._worth(unit_hash, {})

    def _worth(self, unit_hash: str, chances: dict[str, float]) -> float:
        """`chances` remembers the forecast of each expert, for as long as it cannot change."""
        uses = self._units.uses(unit_hash)
        for use in uses:
            if use.expert not in chances:
                chances[use.expert] = self._forecast.chance(use.expert)
        return self._reload_s_per_byte(unit_hash) * sum(chances[use.expert] for use in uses)


class LruEviction:
    """The least recently used unit leaves first; a wanted one is worth more than all, as its use is the latest."""

    def __init__(self, units: UnitIndex, recency: Recency) -> None:
        self._units, self._recency = units, recency

    def worths(self, unit_hashes: Iterable[str]) -> dict[str, float]:
        return {unit_hash: self._last_used_s(unit_hash) for unit_hash in unit_hashes}

    def worth_of_wanted(self, unit_hash: str) -> float:
        del unit_hash
        return float("inf")

    def _last_used_s(self, unit_hash: str) -> float:
        used_s = (self._recency.last_used_s(use.expert) for use in self._units.uses(unit_hash))
        return max(float("-inf") if at_s is None else at_s for at_s in used_s)
