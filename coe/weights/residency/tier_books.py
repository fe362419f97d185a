"""The books of one tier: its resident units, the claims on them and the order in which they leave.

Pure: the bytes themselves are `coe.weights.memory`'s, and `coe.weights.tier` keeps both in step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from coe.weights.residency.claims import Claims
from coe.weights.residency.eviction import Eviction
from coe.weights.residency.eviction_order import EvictionOrder
from coe.weights.residency.resident_units import ResidentUnits
from coe.weights.residency.unit_index import UnitIndex, total_bytes

__all__ = ["TierBooks"]


@dataclass(frozen=True, slots=True)
class TierBooks:
    """Resident units, claims and eviction order of one tier, and what they say of an expert."""

    units: UnitIndex
    residents: ResidentUnits
    claims: Claims
    eviction: EvictionOrder

    @classmethod
    def of(cls, budget_bytes: int, units: UnitIndex, eviction: Eviction) -> Self:
        residents, claims = ResidentUnits(budget_bytes), Claims(budget_bytes, units)
        return cls(units, residents, claims, EvictionOrder(units, residents, claims, eviction))

    def resident_bytes(self, expert: str) -> int:
        """Return the bytes of the expert's units that are ready here."""
        return total_bytes(unit for unit in self.units.of(expert) if self.residents.is_ready(unit))

    def moving_bytes(self, expert: str) -> int:
        """Return the bytes of the expert's units that are on their way here."""
        return total_bytes(unit for unit in self.units.of(expert) if self.residents.is_moving(unit))

    def missing_bytes(self, expert: str) -> int:
        """Return the bytes of the expert's units that are not ready here."""
        return total_bytes(unit for unit in self.units.of(expert) if not self.residents.is_ready(unit))

    def num_leading(self, expert: str) -> int:
        """Return how many of the expert's units are ready before the first that is not."""
        units = self.units.of(expert)
        return next((at for at, unit in enumerate(units) if not self.residents.is_ready(unit)), len(units))

    def check_integrity(self) -> None:
        """Raise AssertionError if the books do not balance."""
        self.residents.check_integrity()
        self.claims.check_integrity()
        assert all(unit_hash in self.units for unit_hash in self.residents)
