"""How fast units move, disk -> host and host -> device, and how long loads will therefore take. Pure."""

from __future__ import annotations

from coe.types import Tier
from coe.weights.residency.bandwidth import Bandwidth

__all__ = ["LinkSpeeds"]

DISK_GUESS_BYTES_PER_S = 1e9  # until the first transfers have been measured
COPY_GUESS_BYTES_PER_S = 8e9


class LinkSpeeds:
    """Measured bandwidths of both links; what passes them in turn takes as long as the slower one."""

    def __init__(self) -> None:
        self._disk, self._copy_link = Bandwidth(DISK_GUESS_BYTES_PER_S), Bandwidth(COPY_GUESS_BYTES_PER_S)

    def note(self, target: Tier, num_bytes: int, started_s: float, ended_s: float) -> float:
        """Count a transfer to a tier that has ended; returns the seconds in which no earlier one was moving."""
        link = self._disk if target is Tier.HOST else self._copy_link
        return link.note(num_bytes, started_s, ended_s)

    def host_s_per_byte(self) -> float:
        """Return the seconds that a byte takes from the disk to the host."""
        return 1.0 / self._disk.bytes_per_s

    def device_s_per_byte(self, *, is_on_host: bool) -> float:
        """Return the seconds that a byte takes to the device, from the host or from the disk."""
        copy_s = 1.0 / self._copy_link.bytes_per_s
        return copy_s if is_on_host else max(copy_s, 1.0 / self._disk.bytes_per_s)

    def load_s(self, disk_bytes: int, copy_bytes: int = 0) -> float:
        """Return the seconds that a load takes which moves these bytes over either link."""
        return max(disk_bytes / self._disk.bytes_per_s, copy_bytes / self._copy_link.bytes_per_s)
