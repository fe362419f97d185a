"""How soon each expert will be wanted: from the requests of late, and from the order of those that wait.

Pure: no clock, time is counted in requests. An expert that waits in the queue is wanted after as many experts as are
before it. Any other is wanted when the queue has been served and then once in so many requests as its share of the
recent ones says. Eviction by this distance is Belady's rule where the future is known, and frequency with decay where
it is not (Belady 1966; O'Neil et al., LRU-K, 1993, for why recency alone is fooled by one-time visitors). Knows nothing
about units or bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["Popularity"]

HALF_LIFE = 200.0  # requests after which a request counts half: long enough for shares, short enough for a new day


class Popularity:
    """Shares of recent requests with exponential decay, and the queue of experts that will be wanted next."""

    def __init__(self, half_life: float = HALF_LIFE) -> None:
        self._growth = 2.0 ** (1.0 / half_life)
        self._weight = 1.0  # of the next request: growing it is the same as decaying all others
        self._scores: dict[str, float] = {}
        self._total = 0.0
        self._ranks: dict[str, int] = {}

    def count_request(self, expert: str) -> None:
        self._scores[expert] = self._scores.get(expert, 0.0) + self._weight
        self._total += self._weight
        self._weight *= self._growth
        if self._weight > 1e12:
            self._rescale()

    def expect(self, experts: Sequence[str]) -> None:
        """Replace the queue of experts that will be wanted, the next one first."""
        self._ranks = {expert: rank for rank, expert in enumerate(experts)}

    def share(self, expert: str) -> float:
        """Return the expert's share of recent requests; never zero, because an expert may have its first request."""
        return max(self._scores.get(expert, 0.0), 1e-3 * self._weight) / max(self._total, self._weight)

    def chance(self, expert: str) -> float:
        """Return one over the number of requests until the expert is wanted."""
        rank = self._ranks.get(expert)
        distance = len(self._ranks) + 1.0 / self.share(expert) if rank is None else rank + 1.0
        return 1.0 / distance

    def _rescale(self) -> None:
        self._scores = {expert: score / self._weight for expert, score in self._scores.items()}
        self._total /= self._weight
        self._weight = 1.0
