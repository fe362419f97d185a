"""Devices that hold copies of host bytes: CUDA, and an emulated one that runs the same logic on a CPU.

A plain CPU has no such device: there the host bytes are what the engine computes with. Knows how to allocate and copy
frames; which frames and when is the cache's business.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import torch

from coe.weights.memory import Arena
from coe.weights.transfer import NUM_THREADS

__all__ = ["CopyDevice", "CudaDevice", "EmulatedDevice"]

_CHUNK_BYTES = 4 << 20  # the emulated wire is throttled in pieces of this size


class CopyDevice(Protocol):
    """Memory of its own at the end of a wire. `num_lanes` threads may copy at once."""

    num_lanes: int

    def allocate(self, size_bytes: int) -> torch.Tensor:
        """Return a uint8 frame on the device; raises MemoryError or torch.OutOfMemoryError."""
        ...

    def free(self, frame: torch.Tensor) -> None:
        """Take a frame back; work already queued on the device may still read it."""
        ...

    def copy(self, source: torch.Tensor, target: torch.Tensor) -> None:
        """Copy host bytes to the device; returns when they are there. Called on the transfer thread."""
        ...

    def close(self) -> None: ...


class EmulatedDevice:
    """A second arena in RAM with real copies, so that all device logic runs and is tested on a CPU.

    `wire_bytes_per_s` imitates a slower wire; None copies at the speed of memory, with as many lanes as fill its bus.
    """

    def __init__(self, budget_bytes: int, *, wire_bytes_per_s: float | None = None) -> None:
        self.num_lanes = NUM_THREADS if wire_bytes_per_s is None else 1
        self._arena = Arena(budget_bytes)
        self._wire_bytes_per_s = wire_bytes_per_s

    def allocate(self, size_bytes: int) -> torch.Tensor:
        return self._arena.allocate(size_bytes)

    def free(self, frame: torch.Tensor) -> None:
        self._arena.free(frame)

    def copy(self, source: torch.Tensor, target: torch.Tensor) -> None:
        if self._wire_bytes_per_s is None:
            target.copy_(source)
            return
        started_s = time.monotonic()
        for at in range(0, source.numel(), _CHUNK_BYTES):
            target[at : at + _CHUNK_BYTES].copy_(source[at : at + _CHUNK_BYTES])
            sent = min(at + _CHUNK_BYTES, source.numel())
            time.sleep(max(0.0, started_s + sent / self._wire_bytes_per_s - time.monotonic()))

    def close(self) -> None:
        self._arena.close()


class CudaDevice:
    """One CUDA device: frames from torch's allocator, copies from pinned memory on a stream of their own."""

    num_lanes = 1  # a copy engine takes one large transfer at a time

    def __init__(self, device: torch.device, on_free: Callable[[int, int], None] = lambda *_: None) -> None:
        self.device = device
        self._on_free = on_free  # told the address and size of memory that is given back
        self._wire = torch.cuda.Stream(device)
        self._compute = torch.cuda.current_stream(device)

    def allocate(self, size_bytes: int) -> torch.Tensor:
        # Allocated on the compute stream: a block freed there is handed out again only for work queued after its
        # last reader, and the wire waits for that point before it writes.
        frame = torch.empty(size_bytes, dtype=torch.uint8, device=self.device)
        self._wire.wait_stream(self._compute)
        return frame

    def free(self, frame: torch.Tensor) -> None:
        self._on_free(frame.data_ptr(), frame.numel())

    def copy(self, source: torch.Tensor, target: torch.Tensor) -> None:
        with torch.cuda.stream(self._wire):
            target.copy_(source, non_blocking=True)
            arrived = torch.cuda.Event()
            arrived.record(self._wire)
        arrived.synchronize()

    def close(self) -> None:
        torch.cuda.synchronize(self.device)
