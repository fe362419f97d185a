"""Devices with memory of their own, to which host bytes are copied: CUDA, and one emulated on a CPU.

A plain CPU has no such device: the engine computes with the host bytes. A device knows how bytes get there and which
bytes may not be overwritten yet. Knows nothing about units: the cache decides which bytes are copied, and where.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, Protocol

import torch

from coe.weights.memory.allocation import CudaMemory, SystemMemory, registered_pieces
from coe.weights.memory.arena import Arena, offset_of
from coe.weights.memory.fences import E, Fences
from coe.weights.transfer import NUM_THREADS, Arrived, Copier, LaneCopier, StreamCopier

__all__ = ["CopyDevice", "EmulatedDevice", "StreamDevice", "Streams", "cuda_device"]

_CHUNK_BYTES = 4 << 20  # an emulated copy link is throttled after every piece of this size


class CopyDevice(Protocol):
    """A device at the end of a copy link. All calls but those of the copier's threads come from the engine thread."""

    arena: Arena

    def copier(self, post: Callable[[Arrived], None]) -> Copier:
        """Return a copier from host frames to frames of `arena`, which posts an `Arrived` for each."""
        ...

    def retire(self, frame: torch.Tensor) -> None:
        """Give a frame up: what is written to its bytes next waits for queued work that may still read them."""
        ...

    def forget(self, offset: int, size_bytes: int) -> None:
        """Forget work that was captured over these bytes: no unit will have exactly this place again."""
        ...

    def join(self, frame: torch.Tensor) -> None:
        """Let work that is queued from now on read what a copy into the frame has brought."""
        ...

    def check(self) -> None:
        """Wait for queued work; raises what the driver raises when the device can run nothing any more."""
        ...


class EmulatedDevice:
    """A second arena in RAM with real copies, so that all device logic runs and is tested on a CPU.

    `copy_link_bytes_per_s` caps the speed of the copies; None copies at the speed of memory, with as many lanes as fill
    its bus.
    """

    def __init__(self, budget_bytes: int, *, copy_link_bytes_per_s: float | None = None) -> None:
        self.arena = Arena(SystemMemory(budget_bytes))
        self._copy_link_bytes_per_s = copy_link_bytes_per_s

    def copier(self, post: Callable[[Arrived], None]) -> Copier:
        return LaneCopier(post, self.copy, num_lanes=NUM_THREADS if self._copy_link_bytes_per_s is None else 1)

    def copy(self, source: torch.Tensor, target: torch.Tensor) -> None:
        if self._copy_link_bytes_per_s is None:
            target.copy_(source)
            return
        started_s = time.monotonic()
        for at in range(0, source.numel(), _CHUNK_BYTES):
            target[at : at + _CHUNK_BYTES].copy_(source[at : at + _CHUNK_BYTES])
            sent = min(at + _CHUNK_BYTES, source.numel())
            time.sleep(max(0.0, started_s + sent / self._copy_link_bytes_per_s - time.monotonic()))

    def retire(self, frame: torch.Tensor) -> None:
        """Do nothing: no work is queued, each call returns when its work is done."""

    def forget(self, offset: int, size_bytes: int) -> None:
        """Do nothing: no work is captured."""

    def join(self, frame: torch.Tensor) -> None:
        """Do nothing: no work is queued."""

    def check(self) -> None:
        """Do nothing: memory does not fail."""


class Streams(Protocol[E]):
    """Two queues of a device: one for copies, one for compute."""

    def copy(self, source: torch.Tensor, target: torch.Tensor, after: E | None) -> E:
        """Queue a copy of pinned bytes that begins after the event `after`; returns the event of its end."""
        ...

    def mark(self) -> E:
        """Return an event after all compute that has been queued."""
        ...

    def join(self, event: E) -> None:
        """Let compute that is queued from now on begin after the event."""
        ...


class StreamDevice(Generic[E]):
    """A device that copies in one queue and computes in another; this class lets either wait for the other.

    The engine thread queues copies at once, so that the device goes from one to the next by itself. A copy into bytes
    that were given up waits, on the device, for the compute that was queued until then. `forget` is called with the
    address and size of bytes whose captured work will not run again.
    """

    def __init__(self, arena: Arena, streams: Streams[E], forget: Callable[[int, int], None] = lambda *_: None) -> None:
        self.arena = arena
        self._forget_captured = forget
        self._streams = streams
        self._fences: Fences[E] = Fences()
        self._landing: dict[int, E] = {}  # offset -> end of a copy that compute does not wait for yet

    def copier(self, post: Callable[[Arrived], None]) -> Copier:
        return StreamCopier(post, self.begin)

    def begin(self, source: torch.Tensor, target: torch.Tensor) -> Callable[[], None]:
        """Queue a copy; returns a call that waits, on the host, until the bytes are there."""
        start = offset_of(target)
        event = self._streams.copy(source, target, self._fences.before(start, start + target.numel()))
        self._landing[start] = event
        return event.synchronize

    def retire(self, frame: torch.Tensor) -> None:
        start = offset_of(frame)
        self._landing.pop(start, None)
        self._fences.add(start, start + frame.numel(), self._streams.mark())

    def forget(self, offset: int, size_bytes: int) -> None:
        self._forget_captured(self.arena.address + offset, size_bytes)

    def join(self, frame: torch.Tensor) -> None:
        self._streams.join(self._landing.pop(offset_of(frame)))

    def check(self) -> None:
        self._streams.mark().synchronize()


class CudaStreams:
    """A stream of its own for copies; compute runs on the stream that the engine thread has made current."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._copies = torch.cuda.Stream(device)

    def copy(self, source: torch.Tensor, target: torch.Tensor, after: torch.cuda.Event | None) -> torch.cuda.Event:
        if after is not None:
            self._copies.wait_event(after)
        with torch.cuda.stream(self._copies):
            for piece in registered_pieces(source):
                target[piece].copy_(source[piece], non_blocking=True)
        arrived = torch.cuda.Event(blocking=True)  # a waiting thread sleeps; a spinning one would take a core
        arrived.record(self._copies)
        return arrived

    def mark(self) -> torch.cuda.Event:
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(self._device))
        return event

    def join(self, event: torch.cuda.Event) -> None:
        torch.cuda.current_stream(self._device).wait_event(event)


def cuda_device(
    device: torch.device, budget_bytes: int, forget: Callable[[int, int], None] = lambda *_: None
) -> StreamDevice[torch.cuda.Event]:
    """Return a CUDA device and allocate its memory for weights; raises ConfigError if it has too little free."""
    return StreamDevice(Arena(CudaMemory(budget_bytes, device)), CudaStreams(device), forget)
