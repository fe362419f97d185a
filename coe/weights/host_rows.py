"""The first unit of a lease run from its host bytes, while the other units are copied to the device.

The first unit is the embedding: a step takes a few of its rows, and the host can give those at once. So it travels last
over the copy link, although it is often the largest unit. Its host bytes are held until then. Knows nothing about
steps or how bytes move.
"""

from __future__ import annotations

from coe.weights.memory.frames import Bind
from coe.weights.tier import TierMemory
from coe.weights.unit import Unit

__all__ = ["HostRows"]


class HostRows:
    """`are_held`: the unit's bytes are in host memory, stay there, and are not on the device yet."""

    def __init__(self, unit: Unit, host: TierMemory, device: TierMemory) -> None:
        self.unit = unit
        self.are_held = False
        self._host, self._device = host, device

    def update(self) -> bool:
        """Hold the host bytes as soon as they are there, let them go when the unit has arrived; returns `are_held`."""
        if self._device.books.residents.is_ready(self.unit):
            self.let_go()
        elif not self.are_held and self._host.books.residents.is_ready(self.unit):
            self.are_held = True
            self._host.books.claims.hold(self.unit)
        return self.are_held

    def let_go(self) -> None:
        if self.are_held:
            self.are_held = False
            self._host.books.claims.unhold(self.unit)

    def payload(self, bind: Bind) -> object:
        """Return what `bind` makes of the host bytes."""
        return bind(self.unit, self._host.frames[self.unit.hash].bytes)
