"""Which units are in one tier, or on their way to it, and the bytes that they take of its budget.

Knows nothing about experts, leases or what a unit is worth.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from coe.weights.unit import Unit

__all__ = ["ResidentUnits"]


@dataclass(slots=True)
class _Entry:
    size_bytes: int
    is_ready: bool = False


class ResidentUnits:
    """A unit is absent, moving (`reserve`) or ready (`commit`); one on its way takes its bytes from the start."""

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self.used_bytes = 0
        self._entries: dict[str, _Entry] = {}

    def __iter__(self) -> Iterator[str]:
        """Hashes of the units that are ready or moving."""
        return iter(self._entries)

    def __contains__(self, unit_hash: str) -> bool:
        return unit_hash in self._entries

    def is_ready(self, unit: Unit) -> bool:
        entry = self._entries.get(unit.hash)
        return entry is not None and entry.is_ready

    def is_absent(self, unit: Unit) -> bool:
        return unit.hash not in self._entries

    def is_moving(self, unit: Unit) -> bool:
        entry = self._entries.get(unit.hash)
        return entry is not None and not entry.is_ready

    def size_bytes(self, unit_hash: str) -> int:
        return self._entries[unit_hash].size_bytes

    def excess_bytes(self, size_bytes: int) -> int:
        """Return how many bytes have to leave before `size_bytes` more fit; not above zero if they fit now."""
        return self.used_bytes + size_bytes - self.budget_bytes

    def reserve(self, unit: Unit) -> None:
        """Take the bytes of a unit that starts moving here."""
        assert unit.hash not in self._entries, f"unit {unit.hash} is already here"
        assert self.excess_bytes(unit.size_bytes) <= 0, "reserve without room"
        self._entries[unit.hash] = _Entry(unit.size_bytes)
        self.used_bytes += unit.size_bytes

    def commit(self, unit: Unit) -> None:
        """Note that a moving unit has arrived."""
        self._entries[unit.hash].is_ready = True

    def drop(self, unit_hash: str) -> None:
        """Give back the bytes of a unit that was evicted or failed to load."""
        self.used_bytes -= self._entries.pop(unit_hash).size_bytes

    def check_integrity(self) -> None:
        """Raise AssertionError if the bytes do not add up or exceed the budget."""
        assert self.used_bytes == sum(entry.size_bytes for entry in self._entries.values())
        assert 0 <= self.used_bytes <= self.budget_bytes
