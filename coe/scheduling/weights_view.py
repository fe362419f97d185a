"""What the scheduler may know of the weights: a seam with the cache behind it when serving, a fake machine in tests."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

__all__ = ["WeightsView"]


class WeightsView(Protocol):
    """Questions about the weights of experts; none of them moves a byte."""

    def is_resident(self, expert: str) -> bool:
        """Whether every unit that a lease of the expert holds is on the device."""

    def can_lease(self, expert: str, giving_up: Collection[str] = ()) -> bool:
        """Whether the expert fits on the device beside what is leased and pinned, less the leases of `giving_up`."""

    def pins_against(self, expert: str) -> tuple[str, ...]:
        """The pinned experts that leave no room for this one if every lease were closed; empty if there is room."""

    def num_ready(self, expert: str) -> int:
        """How many of a leased expert's units a step may run up to: its leading ones on the device."""

    def load_s(self, expert: str) -> float:
        """Seconds that loading the expert's absent units would take; 0 if it is resident."""
