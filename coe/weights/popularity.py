"""How soon each expert will be wanted again: what was asked lately, and what is known to be waiting.

Pure: no clock; time is counted in requests. An expert that waits in the queue is wanted after as many experts as are
before it; any other is wanted, if requests go on as they did, once in so many requests as its share of the recent ones
says, and not before the queue is served. Eviction by this distance is Belady's rule where the future is known and
frequency with decay where it is not (Belady 1966; O'Neil et al., LRU-K, 1993, for why recency alone is fooled by
one-time visitors). Knows nothing about units or bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["Popularity"]

HALF_LIFE = 200.0  # requests after which a request counts half: long enough for shares, short enough for a new day


class Popularity:
    """Shares of recent requests with exponential decay, and the order of those who wait."""

    def __init__(self, half_life: float = HALF_LIFE) -> None:
        self._growth = 2.0 ** (1.0 / half_life)
        self._weight = 1.0  # of the next request: growing it is the same as decaying all others
        self._scores: dict[str, float] = {}
        self._total = 0.0
        self._ranks: dict[str, int] = {}

    def asked(self, expert: str) -> None:
        """Count one request."""
        self._scores[expert] = self._scores.get(expert, 0.0) + self._weight
        self._total += self._weight
        self._weight *= self._growth
        if self._weight > 1e12:
            self._rescale()

    def expect(self, experts: Sequence[str]) -> None:
        """Name the experts that wait, the next one first; replaces what was expected before."""
        self._ranks = {expert: rank for rank, expert in enumerate(experts)}

    def share(self, expert: str) -> float:
        """Share of recent requests; never zero, because what was never asked for may be asked for."""
        return max(self._scores.get(expert, 0.0), 1e-3 * self._weight) / max(self._total, self._weight)

    def chance(self, expert: str) -> float:
        """How soon the expert will be wanted, as one over the requests until then."""
        rank = self._ranks.get(expert)
        distance = len(self._ranks) + 1.0 / self.share(expert) if rank is None else rank + 1.0
        return 1.0 / distance

    def _rescale(self) -> None:
        self._scores = {expert: score / self._weight for expert, score in self._scores.items()}
        self._total /= self._weight
        self._weight = 1.0
