"""The measured bandwidth of one link: bytes per second of busy time, in which recent transfers weigh more. Pure."""

from __future__ import annotations

__all__ = ["Bandwidth"]

MEMORY_S = 1.0  # seconds of busy time after which an observation counts for about a third


class Bandwidth:
    """Transfers may overlap: only time in which no earlier transfer was under way counts."""

    def __init__(self, guess_bytes_per_s: float) -> None:
        self._bytes, self._busy_s = guess_bytes_per_s * 1e-3, 1e-3  # a guess weighs a millisecond
        self._until_s = float("-inf")

    @property
    def bytes_per_s(self) -> float:
        return self._bytes / self._busy_s

    def note(self, num_bytes: int, started_s: float, ended_s: float) -> float:
        """Count a transfer that has ended; returns the seconds of it in which no earlier one was moving."""
        busy_s = max(0.0, ended_s - max(started_s, self._until_s))
        self._until_s = max(self._until_s, ended_s)
        kept = MEMORY_S / (MEMORY_S + busy_s)
        self._bytes = self._bytes * kept + num_bytes
        self._busy_s = max(1e-9, self._busy_s * kept + busy_s)
        return busy_s
