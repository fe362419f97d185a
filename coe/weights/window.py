"""The window of a lease whose expert is larger than its tier: it follows the step through the units.

The claim of such a lease keeps its leading units; of the others the window holds as many as it has bytes for, from the
unit that the step runs next. Units behind the step may be evicted, those ahead of it are loaded. Knows nothing about
how bytes move.
"""

from __future__ import annotations

from collections.abc import Sequence

from coe.weights.residency.claims import Claim, Claims
from coe.weights.unit import Unit

__all__ = ["StreamingWindow"]


class StreamingWindow:
    """`position` is the unit that the step runs next; `units` are those in the window, the next one first."""

    def __init__(self, units: Sequence[Unit], claim: Claim, claims: Claims) -> None:
        self.position = 0
        self.units: Sequence[Unit] = ()
        self._all_units, self._window_bytes, self._claims = units, claim.window_bytes, claims
        self._claimed = {unit.hash for unit in claim.units}
        self.move_to(0)

    def keeps(self, unit: Unit) -> bool:
        """Whether the unit stays while the step is at this position: the claim or the window has it."""
        return unit.hash in self._claimed or any(unit.hash == held.hash for held in self.units)

    def move_to(self, position: int) -> None:
        """Follow the step to a unit: hold those ahead of it, and no longer those behind it."""
        self.position = position
        ahead = self._ahead()
        for unit in ahead:
            self._claims.hold(unit)
        self.close()
        self.units = ahead

    def close(self) -> None:
        for unit in self.units:
            self._claims.unhold(unit)
        self.units = ()

    def _ahead(self) -> list[Unit]:
        ahead: list[Unit] = []
        free_bytes = self._window_bytes
        for unit in (*self._all_units[self.position :], *self._all_units[: self.position]):
            if unit.hash not in self._claimed:
                free_bytes -= unit.size_bytes
                if free_bytes < 0:
                    break
                ahead.append(unit)
        return ahead
