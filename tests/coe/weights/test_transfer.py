"""Transfers report once, when the last piece has ended, with the first error if there was one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue

import pytest
import torch

from coe.types import Tier
from coe.weights.transfer import Arrived, DiskReader, LaneCopier, StreamCopier
from coe.weights.unit import ALIGNMENT, Unit

UNIT = Unit("layer.0", "hash", 4 * ALIGNMENT, ())


class Source:
    """Fills each page of a unit with its number; `fails` are the pages that cannot be read."""

    def __init__(self, fails: Sequence[int] = (), check: Callable[[], None] = lambda: None) -> None:
        self.fails, self._check = fails, check
        self.num_checks = 0

    def reads(self, unit: Unit, target: memoryview) -> Sequence[Callable[[], None]]:
        def read(page: int) -> None:
            if page in self.fails:
                raise OSError(f"page {page}")
            target[page * ALIGNMENT : (page + 1) * ALIGNMENT] = bytes([page]) * ALIGNMENT

        return [lambda page=page: read(page) for page in range(unit.size_bytes // ALIGNMENT)]  # type: ignore[misc]

    def check(self, unit: Unit, target: memoryview) -> None:
        assert unit == UNIT
        assert bytes(target) == b"".join(bytes([page]) * ALIGNMENT for page in range(4)), "checked when all is there"
        self.num_checks += 1
        self._check()


def read(source: Source) -> Arrived:
    inbox: SimpleQueue[Arrived] = SimpleQueue()
    reader = DiskReader(source, inbox.put)
    reader.read(UNIT, torch.empty(UNIT.size_bytes, dtype=torch.uint8))
    event = inbox.get(timeout=30)
    reader.close()
    assert inbox.empty(), "one report for each unit"
    return event


def test_a_unit_is_checked_and_reported_when_its_last_piece_is_there() -> None:
    source = Source()
    event = read(source)
    assert (event.unit_hash, event.size_bytes, event.tier, event.error) == ("hash", 4 * ALIGNMENT, Tier.HOST, None)
    assert event.started_s <= event.ended_s
    assert source.num_checks == 1


@pytest.mark.parametrize("page", range(4))
def test_a_piece_that_fails_fails_its_unit_which_is_not_checked(page: int) -> None:
    source = Source(fails=[page])
    assert str(read(source).error) == f"page {page}"
    assert source.num_checks == 0


def test_a_check_that_fails_fails_its_unit() -> None:
    def fail() -> None:
        raise ValueError("wrong bytes")

    assert str(read(Source(check=fail)).error) == "wrong bytes"


def test_a_report_that_fails_is_made_again() -> None:
    """An end that nobody hears of leaves its expert loading for ever."""
    inbox: SimpleQueue[Arrived] = SimpleQueue()
    errors = iter([MemoryError()])

    def post(event: Arrived) -> None:
        for error in errors:
            raise error
        inbox.put(event)

    copier = LaneCopier(post, lambda source, target: target.copy_(source), num_lanes=1)
    copier.copy("hash", torch.zeros(8, dtype=torch.uint8), torch.ones(8, dtype=torch.uint8))
    assert inbox.get(timeout=30).error is None
    copier.close()


@pytest.mark.parametrize("num_lanes", [1, 2])
def test_lanes_copy_every_byte_of_a_unit_and_report_once(num_lanes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coe.weights.transfer.COPY_PIECE_BYTES", 1000)
    inbox: SimpleQueue[Arrived] = SimpleQueue()
    copier = LaneCopier(inbox.put, lambda source, target: target.copy_(source), num_lanes=num_lanes)
    source = torch.randint(0, 256, (2 * ALIGNMENT,), dtype=torch.uint8)
    target = torch.zeros_like(source)
    copier.copy("hash", source, target)
    event = inbox.get(timeout=30)
    copier.close()
    assert (event.size_bytes, event.tier, event.error) == (2 * ALIGNMENT, Tier.DEVICE, None)
    assert torch.equal(source, target)
    assert inbox.empty()


def test_queued_copies_are_reported_in_order_also_those_that_could_not_be_queued() -> None:
    inbox: SimpleQueue[Arrived] = SimpleQueue()
    arrived = threading.Event()

    def begin(source: torch.Tensor, target: torch.Tensor) -> Callable[[], None]:
        del target
        if source.numel() == 2:
            raise RuntimeError("no such stream")
        return lambda: arrived.wait(30) or pytest.fail("never arrived")

    copier = StreamCopier(inbox.put, begin)
    for size in (1, 2, 3):
        copier.copy(f"{size}", torch.empty(size), torch.empty(size))
    assert inbox.empty(), "the first has not arrived"
    arrived.set()
    events = [inbox.get(timeout=30) for _ in range(3)]
    copier.close()
    assert [event.unit_hash for event in events] == ["1", "2", "3"]
    assert [str(event.error) for event in events] == ["None", "no such stream", "None"]
