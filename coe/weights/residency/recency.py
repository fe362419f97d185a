"""When each expert was last used. Pure: the caller says what time it is."""

from __future__ import annotations

__all__ = ["Recency"]


class Recency:
    """Times of last use, in monotonic seconds."""

    def __init__(self) -> None:
        self._last_used_s: dict[str, float] = {}

    def touch(self, expert: str, now_s: float) -> None:
        self._last_used_s[expert] = now_s

    def last_used_s(self, expert: str) -> float | None:
        """Return None for an expert that was never used."""
        return self._last_used_s.get(expert)
