"""Takes units one tier closer to the engine: starts reads and copies where there is room, and books how they ended.

Owned by the engine thread. Which unit comes next, and what may leave for it, the callers decide. Knows nothing about
leases or what is expected.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from coe.types import Tier
from coe.weights.memory.device import CopyDevice
from coe.weights.residency.tier_books import TierBooks
from coe.weights.residency.unit_index import UnitIndex
from coe.weights.tier import Incoming, TierMemory
from coe.weights.transfer import Arrived, DiskReader, UnitSource
from coe.weights.unit import Unit

__all__ = ["Loader", "MakeIncoming"]

MAX_READS = 4  # units in flight from the disk: enough to keep it busy, few enough that leading units arrive first

# what may leave for a unit, given the books of the tier that it moves to
MakeIncoming = Callable[[Unit, TierBooks], Incoming]


class Loader:
    """Moves units disk -> host and, where there is a device with memory of its own, host -> device.

    Transfer threads report through `post`; the owner hands what they post back to `finish`.
    """

    def __init__(
        self,
        units: UnitIndex,
        source: UnitSource,
        post: Callable[[Arrived], None],
        host: TierMemory,
        device: TierMemory | None = None,
        copy_device: CopyDevice | None = None,
    ) -> None:
        assert (device is None) == (copy_device is None)
        self._units, self._host, self._device, self._copy_device = units, host, device, copy_device
        self._reader = DiskReader(source, post)
        self._copier = None if copy_device is None else copy_device.copier(post)
        self._num_reads = self._num_copies = 0  # under way

    @property
    def num_moving(self) -> int:
        """Transfers under way."""
        return self._num_reads + self._num_copies

    @property
    def is_busy(self) -> bool:
        return self.num_moving > 0

    def advance(self, unit: Unit, incoming: MakeIncoming) -> bool:
        """Take a unit one tier closer, if it does not move already; False if it has to wait for room or for a read."""
        if self._device is None or self._device.books.residents.is_absent(unit):
            if self._host.books.residents.is_ready(unit):
                return self._device is None or self._start_copy(unit, self._device, incoming)
            if self._host.books.residents.is_absent(unit):
                return self._start_read(unit, incoming)
        return True

    def finish(self, event: Arrived) -> None:
        """Book a transfer that has ended; nothing of one that failed stays."""
        unit = self._units[event.unit_hash]
        if event.tier is Tier.HOST:
            self._num_reads -= 1
            tier = self._host
        else:
            assert self._device is not None
            self._num_copies -= 1
            tier = self._device
            self._host.books.claims.unhold(unit)
        if event.error is not None:
            tier.evict([unit.hash], "failed")
            return
        tier.commit(unit)
        if tier is self._device and self._copy_device is not None:
            self._copy_device.join(tier.frames[unit.hash].bytes)

    def close(self) -> None:
        """Wait for transfers under way."""
        self._reader.close()
        if self._copier is not None:
            self._copier.close()

    def _start_read(self, unit: Unit, incoming: MakeIncoming) -> bool:
        frame = self._reserve(self._host, unit, incoming) if self._num_reads < MAX_READS else None
        if frame is None:
            return False
        self._num_reads += 1
        self._reader.read(unit, frame)
        return True

    def _start_copy(self, unit: Unit, device: TierMemory, incoming: MakeIncoming) -> bool:
        assert self._copier is not None
        frame = self._reserve(device, unit, incoming)
        if frame is None:
            return False
        self._host.books.claims.hold(unit)  # the source stays until the copy has ended
        self._num_copies += 1
        self._copier.copy(unit.hash, self._host.frames[unit.hash].bytes, frame)
        return True

    def _reserve(self, tier: TierMemory, unit: Unit, incoming: MakeIncoming) -> torch.Tensor | None:
        return tier.reserve(incoming(unit, tier.books), partial(self._is_movable, tier))

    def _is_movable(self, tier: TierMemory, unit_hash: str) -> bool:
        """Whether no transfer reads or writes a unit's bytes."""
        unit = self._units[unit_hash]
        is_copied = tier is self._host and self._device is not None and self._device.books.residents.is_moving(unit)
        return tier.books.residents.is_ready(unit) and not is_copied

    def check_integrity(self) -> None:
        """Raise AssertionError if more transfers have ended than began."""
        assert self._num_reads >= 0
        assert self._num_copies >= 0
