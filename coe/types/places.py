"""Where weights are, and what it took to run an expert."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

__all__ = ["BreakerState", "SwitchKind", "Tier"]


BreakerState = Literal["closed", "open", "half-open"]


class Tier(StrEnum):
    """Where weights are. On a CPU the device tier is the host's bytes themselves."""

    DISK = "disk"
    HOST = "host"
    DEVICE = "device"


class SwitchKind(StrEnum):
    """What it took to run an expert: no bytes moved, bytes from RAM, or bytes from disk."""

    DEVICE_HIT = "device_hit"
    HOST_HIT = "host_hit"
    DISK_MISS = "disk_miss"
