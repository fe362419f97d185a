"""The physical limits that a switch runs into, measured in the same run and at the same sizes as the switch itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import torch

from coe.bench.harness import median_seconds
from coe.bench.switch.page_cache import drop_from_page_cache
from coe.weights.memory.allocation import PinnedMemory, SystemMemory, registered_pieces
from coe.weights.store.file_reads import PIECE_BYTES, pieces_of
from coe.weights.transfer import NUM_THREADS, Arrived, DiskReader
from coe.weights.unit import Unit

__all__ = ["Ceilings", "measure_ceilings"]

ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Ceilings:
    """Bytes per second, medians of five."""

    memory_copy: float  # from RAM to RAM with as many threads as the emulated copy link has
    disk_cached: float  # these very files through a warm page cache, with the reader's threads
    disk_direct: float  # these very files with the page cache emptied of them
    pinned_copy: float | None = None  # from pinned RAM to the GPU, where there is one


def measure_ceilings(files: Sequence[Path], device: str = "emulated") -> Ceilings:
    """Measure with the given unit files and with as many bytes of memory."""
    sizes = [file.stat().st_size for file in files]
    total = sum(sizes)
    frames = [SystemMemory(size).bytes for size in sizes]
    for frame in frames:
        frame.zero_()
    targets = [torch.zeros_like(frame) for frame in frames]
    with ThreadPoolExecutor(NUM_THREADS, initializer=partial(torch.set_num_threads, 1)) as threads:
        copy = median_seconds(lambda: _copy(threads, frames, targets), ROUNDS)
    _read(files, frames)
    cached = median_seconds(lambda: _read(files, frames), ROUNDS)
    direct = median_seconds(lambda: _read(files, frames), ROUNDS, before=lambda: drop_from_page_cache(files))
    pinned = total / _pinned_copy_s(sizes) if device == "cuda" else None
    return Ceilings(total / copy, total / cached, total / direct, pinned)


def _pinned_copy_s(sizes: Sequence[int]) -> float:
    memory = PinnedMemory(sum(sizes))
    sources = memory.bytes.split(list(sizes))
    targets = [torch.empty(size, dtype=torch.uint8, device="cuda") for size in sizes]

    def copy() -> None:
        for source, target in zip(sources, targets, strict=True):
            for piece in registered_pieces(source):
                target[piece].copy_(source[piece], non_blocking=True)

    copy()
    took_s = median_seconds(copy, ROUNDS, torch.device("cuda"))
    memory.close()
    targets.clear()
    torch.cuda.empty_cache()
    return took_s


class _Files:
    """Units named by their paths, nothing checked."""

    def reads(self, unit: Unit, target: memoryview) -> Sequence[Callable[[], None]]:
        return pieces_of(Path(unit.name), target)

    def check(self, unit: Unit, target: memoryview) -> None: ...


def _copy(threads: ThreadPoolExecutor, sources: Sequence[torch.Tensor], targets: Sequence[torch.Tensor]) -> None:
    """Plain copies of large pieces and nothing else: what memory gives."""
    pieces = [
        (target[at : at + PIECE_BYTES], source[at : at + PIECE_BYTES])
        for source, target in zip(sources, targets, strict=True)
        for at in range(0, source.numel(), PIECE_BYTES)
    ]
    for done in [threads.submit(target.copy_, source) for target, source in pieces]:
        done.result()


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
