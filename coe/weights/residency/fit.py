"""Whether an expert can run at all within the budgets for weights. Pure."""

from __future__ import annotations

from coe.errors import ExpertTooLargeError
from coe.weights.residency.claims import Claims
from coe.weights.residency.unit_index import UnitIndex
from coe.weights.unit import Manifest

__all__ = ["check_fits"]


def check_fits(
    expert: str, manifest: Manifest, *, host_bytes: int, device_bytes: int, is_streamable: bool = False
) -> None:
    """Raise ExpertTooLargeError if the expert can never run: it, or a unit on its way through the host, is too large.

    `device_bytes` is the budget of the tier that the engine computes from.
    """
    units = UnitIndex()
    units.register(expert, manifest.units, is_streamable=is_streamable)
    if not Claims(device_bytes, units).can_lease(expert):
        why = (
            "even one unit at a time its weights do not pass through"
            if is_streamable
            else "its architecture runs whole (transformers' modules), so it cannot stream through"
        )
        raise ExpertTooLargeError(
            expert,
            f"its weights take {manifest.size_bytes:,} bytes and the budget for weights is {device_bytes:,}; {why}: "
            "raise [cache] device_bytes (CPU: host_bytes) or take a smaller dtype",
        )
    largest = max(manifest.units, key=lambda unit: unit.size_bytes)
    if largest.size_bytes > host_bytes:
        raise ExpertTooLargeError(
            expert,
            f"its unit '{largest.name}' takes {largest.size_bytes:,} bytes and the host has {host_bytes:,} to pass it "
            "through; raise [cache] host_bytes",
        )
