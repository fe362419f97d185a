"""Which units each expert runs, and which experts use each unit.

One index serves all tiers. Experts that share bytes share units: a unit's hash stands for the bytes, whatever the
experts call it. Knows nothing about where units are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from coe.weights.unit import Unit

__all__ = ["UnitIndex", "Use", "distinct", "total_bytes"]


class Use(NamedTuple):
    """One place at which an expert runs a unit. `position` counts in the expert's execution order."""

    expert: str
    position: int


class UnitIndex:
    """Experts by name with their units in execution order, and units by hash with their uses."""

    def __init__(self) -> None:
        self._experts: dict[str, tuple[Unit, ...]] = {}
        self._units: dict[str, Unit] = {}
        self._uses: dict[str, list[Use]] = {}
        self._streamable: set[str] = set()

    def register(self, expert: str, units: Sequence[Unit], *, is_streamable: bool = False) -> None:
        """Add an expert. A streamable one runs unit by unit, so that it may be larger than the tier it runs in."""
        self._experts[expert] = tuple(units)
        if is_streamable:
            self._streamable.add(expert)
        for position, unit in enumerate(units):
            self._units[unit.hash] = unit
            self._uses.setdefault(unit.hash, []).append(Use(expert, position))

    def __getitem__(self, unit_hash: str) -> Unit:
        return self._units[unit_hash]

    def __contains__(self, unit_hash: str) -> bool:
        return unit_hash in self._units

    def of(self, expert: str) -> tuple[Unit, ...]:
        """Return the expert's units in execution order."""
        return self._experts[expert]

    def is_streamable(self, expert: str) -> bool:
        return expert in self._streamable

    def uses(self, unit_hash: str) -> Sequence[Use]:
        """Return every use of the unit; an expert that runs it twice counts twice."""
        return self._uses[unit_hash]

    def position(self, unit_hash: str) -> int:
        """Return the earliest position at which any expert runs the unit."""
        return min(use.position for use in self._uses[unit_hash])

    def is_used_by(self, unit_hash: str, experts: Collection[str]) -> bool:
        """Whether any of the experts uses the unit."""
        return any(use.expert in experts for use in self._uses[unit_hash])

    def is_shared(self, unit: Unit) -> bool:
        """Whether more than one expert uses the unit."""
        uses = self._uses[unit.hash]
        return any(use.expert != uses[0].expert for use in uses)

    def shared_bytes(self, expert: str) -> int:
        """Return the bytes of the expert's units that another expert uses too."""
        return total_bytes(unit for unit in self._experts[expert] if self.is_shared(unit))


def distinct(units: Iterable[Unit]) -> Collection[Unit]:
    """Return the units without repetitions."""
    return {unit.hash: unit for unit in units}.values()


def total_bytes(units: Iterable[Unit]) -> int:
    """Return the bytes of the units, each counted once."""
    return sum(unit.size_bytes for unit in distinct(units))
