"""The physical limits that a switch runs into, measured in the same run and at the same sizes as the switch itself."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import torch

from coe.weights.memory import Arena
from coe.weights.reading import pieces_of
from coe.weights.transfer import Arrived, DiskReader
from coe.weights.unit import Unit

__all__ = ["Ceilings", "drop_from_page_cache", "measure_ceilings"]

ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Ceilings:
    """Bytes per second, medians of five."""

    memory_copy: float  # one thread, the way a unit is copied to the emulated device
    disk_cached: float  # these very files through a warm page cache, two threads
    disk_direct: float  # these very files with the page cache emptied of them


def measure_ceilings(files: Sequence[Path]) -> Ceilings:
    """Measure with the given unit files and with as many bytes of memory."""
    sizes = [file.stat().st_size for file in files]
    total = sum(sizes)
    frames = [Arena(size).allocate(size) for size in sizes]
    for frame in frames:
        frame.zero_()
    targets = [torch.empty_like(frame) for frame in frames]
    copy = _median_s(lambda: _copy(frames, targets))
    _read(files, frames)
    cached = _median_s(lambda: _read(files, frames))
    direct = _median_s(lambda: _read(files, frames), before=lambda: drop_from_page_cache(files))
    return Ceilings(total / copy, total / cached, total / direct)


def drop_from_page_cache(files: Sequence[Path]) -> None:
    """Ask the kernel to forget these files' pages; they must be written back already."""
    for file in files:
        fd = os.open(file, os.O_RDONLY)
        try:
            os.fdatasync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)


class _Files:
    """Units named by their paths, nothing checked."""

    def reads(self, unit: Unit, target: memoryview) -> Sequence[Callable[[], None]]:
        return pieces_of(Path(unit.name), target)

    def check(self, unit: Unit, target: memoryview) -> None: ...


def _copy(sources: Sequence[torch.Tensor], targets: Sequence[torch.Tensor]) -> None:
    for source, target in zip(sources, targets, strict=True):
        target.copy_(source)


def _read(files: Sequence[Path], frames: Sequence[torch.Tensor]) -> None:
    """All files at once with the reader's own threads and nothing else around them."""
    arrived: SimpleQueue[Arrived] = SimpleQueue()
    reader = DiskReader(_Files(), arrived.put)
    for file, frame in zip(files, frames, strict=True):
        reader.read(Unit(str(file), str(file), frame.numel(), ()), frame)
    for _ in files:
        event = arrived.get()
        if event.error is not None:
            raise event.error
    reader.close()


def _median_s(work: Callable[[], None], before: Callable[[], None] = lambda: None) -> float:
    took = []
    for _ in range(ROUNDS):
        before()
        started_s = time.perf_counter()
        work()
        took.append(time.perf_counter() - started_s)
    return statistics.median(took)
