"""A long random run over the real cache, with real files and copies: books balance and bytes are right throughout.

The owner here does what the engine does: it leases only what `can_lease` allows, closes failed leases, hands arrivals
back. The host may be smaller than the device.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
from pathlib import Path
from queue import SimpleQueue

import pytest

from coe.errors import WeightsError
from coe.weights.cache import Lease, WeightCache
from coe.weights.device import EmulatedDevice
from coe.weights.transfer import Arrived
from coe.weights.unit import ALIGNMENT, Manifest, Unit

PAGE = ALIGNMENT


class Owner:
    """What the engine thread does to a cache, in whatever order a test asks for."""

    def __init__(self, folder: Path, experts: dict[str, list[tuple[str, int]]], host: int, device: int | None) -> None:
        self.folder = folder
        self.inbox: SimpleQueue[Arrived] = SimpleQueue()
        emulated = None if device is None else EmulatedDevice(device * PAGE)
        self.cache = WeightCache(
            lambda unit: folder / unit.hash,
            host_bytes=host * PAGE,
            device=emulated,
            device_bytes=(device or 0) * PAGE,
            post=self.inbox.put,
        )
        self.leases: list[Lease] = []
        self.failed: set[str] = set()
        self.units = {name: tuple(self.unit(*each) for each in sizes) for name, sizes in experts.items()}
        for name, units in self.units.items():
            self.cache.register(name, Manifest(name, name, "float32", {}, {}, "", units, {}))

    def unit(self, name: str, num_pages: int) -> Unit:
        (self.folder / name).write_bytes(content(name, num_pages))
        return Unit(name, name, num_pages * PAGE, ())

    def lease(self, expert: str) -> None:
        if self.cache.front.can_lease(expert):
            self.leases.append(self.cache.lease(expert))

    def close(self, lease: Lease) -> None:
        self.leases.remove(lease)
        lease.close()

    def take(self) -> None:
        """Take one arrival in, waiting for it; there must be one under way."""
        for failure in self.cache.on_arrived(self.inbox.get(timeout=60)):
            self.failed.add(failure.expert)
            for lease in [lease for lease in self.leases if lease.expert == failure.expert]:
                self.close(lease)

    def settle(self, lease: Lease) -> None:
        """Until the lease is ready or has failed: a load that stops moving waits here for ever."""
        while lease.is_open and not lease.is_ready:
            self.take()
            self.cache.check_integrity()

    def check(self) -> None:
        self.cache.check_integrity()
        for lease in self.leases:
            for unit in lease.units[: lease.num_ready()]:
                flat = self.cache.payload(lease.expert, unit, lambda _, flat: flat)
                assert bytes(flat.numpy()) == content(unit.name, unit.size_bytes // PAGE)  # type: ignore[attr-defined]


def content(name: str, num_pages: int) -> bytes:
    return hashlib.shake_256(name.encode()).digest(num_pages * PAGE)


@pytest.mark.parametrize(
    "tiers", [(9, None), (9, 9), (4, 9), (24, 9)], ids=["cpu", "equal", "small host", "large host"]
)
@pytest.mark.parametrize("seed", range(3))
def test_bytes_and_books_are_right_after_every_event(tmp_path: Path, seed: int, tiers: tuple[int, int | None]) -> None:
    chance = random.Random(seed)
    shared = [("common0", 2), ("common1", 1)]
    experts = {
        name: [*(shared if name in "ab" else ()), *((f"{name}{at}", chance.randrange(1, 4)) for at in range(2))]
        for name in "abcde"
    }
    owner = Owner(tmp_path, experts, *tiers)
    for step in range(300):
        expert, kind = chance.choice("abcde"), chance.random()
        if kind < 0.25:
            owner.lease(expert)
        elif kind < 0.4 and owner.leases:
            owner.close(chance.choice(owner.leases))
        elif kind < 0.5:
            owner.cache.touch(expert, float(step))
        elif kind < 0.6:
            owner.cache.unload(expert, keeps_host=chance.random() < 0.5)
        elif kind < 0.7:
            with contextlib.suppress(WeightsError):
                (owner.cache.pin if chance.random() < 0.4 else owner.cache.unpin)(expert)
        elif owner.leases:
            owner.settle(chance.choice(owner.leases))
        owner.check()
    assert owner.failed == set()
    owner.cache.close()


@pytest.mark.parametrize("tiers", [(9, None), (4, 9)], ids=["cpu", "emulated"])
@pytest.mark.parametrize("damage", ["short", "missing", "unaligned"])
def test_whatever_is_wrong_with_a_shared_file_fails_its_users_and_leaves_the_books_in_order(
    tmp_path: Path, tiers: tuple[int, int | None], damage: str
) -> None:
    owner = Owner(tmp_path, {"a": [("common", 2), ("a", 2)], "b": [("common", 2), ("b", 1)], "c": [("c", 4)]}, *tiers)
    file = tmp_path / "common"
    if damage == "missing":
        file.unlink()
    else:
        os.truncate(file, PAGE if damage == "short" else PAGE + 100)
    for expert in "abc":
        owner.lease(expert)
    for lease in list(owner.leases):
        owner.settle(lease)
        owner.check()
    assert owner.failed == {"a", "b"}
    assert [lease.expert for lease in owner.leases] == ["c"]
    file.write_bytes(content("common", 2))
    for expert in "ab":
        owner.lease(expert)
        owner.settle(owner.leases[-1])
        owner.check()
        owner.close(owner.leases[-1])
    owner.cache.close()


def test_pins_that_fill_the_device_leave_a_smaller_host_passable(tmp_path: Path) -> None:
    """Pins held the host tier too: with a host smaller than they are nothing else could pass through it, for ever."""
    owner = Owner(tmp_path, {"pinned": [("p0", 2), ("p1", 2)], "other": [("o0", 2), ("o1", 2)]}, 4, 8)
    owner.cache.pin("pinned")
    for expert in ("pinned", "other", "pinned"):
        owner.lease(expert)
        owner.settle(owner.leases[-1])
        owner.check()
    assert owner.cache.residency("pinned").is_pinned


def test_a_unit_that_can_never_pass_the_host_is_refused_with_both_sizes(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=rf"'big'.*{3 * PAGE:,}.*{2 * PAGE:,}"):
        Owner(tmp_path, {"x": [("small", 1), ("big", 3)]}, 2, 8)
