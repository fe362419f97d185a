"""Devices that hold copies of host bytes: CUDA, and an emulated one that runs the same logic on a CPU.

A plain CPU has no such device: there the host bytes are what the engine computes with. Knows how bytes get there and
what may not be overwritten yet; which bytes, and where, is the cache's business.
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

_CHUNK_BYTES = 4 << 20  # the emulated copy link is throttled in pieces of this size


class CopyDevice(Protocol):
    """Memory of its own at the end of a copy link. All but the copier's threads belong to the engine thread."""

    arena: Arena

    def copier(self, post: Callable[[Arrived], None]) -> Copier:
        """What copies host frames to frames of `arena` and posts an `Arrived` for each."""
        ...

    def retire(self, frame: torch.Tensor) -> None:
        """The frame is given up; work already queued may still read it, so whoever writes there next comes after."""
        ...

    def recut(self, offset: int, size_bytes: int) -> None:
        """These bytes of the arena are no unit's place any more: what was captured over them will not be run again."""
        ...

    def join(self, frame: torch.Tensor) -> None:
        """A copy into the frame has arrived: work queued from now on reads what it brought."""
        ...


class EmulatedDevice:
    """A second arena in RAM with real copies, so that all device logic runs and is tested on a CPU.

    `copy_link_bytes_per_s` imitates a slower copy link; None copies at the speed of memory, with as many lanes as fill
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
        """Nothing: work is done when it was called."""

    def recut(self, offset: int, size_bytes: int) -> None:
        """Nothing: no work is captured."""

    def join(self, frame: torch.Tensor) -> None:
        """Nothing: the same."""


class Streams(Protocol[E]):
    """Two queues of a device: one for copies, one for compute."""

    def copy(self, source: torch.Tensor, target: torch.Tensor, after: E | None) -> E:
        """Queue a copy of pinned bytes, not to begin before `after` is over; returns the event of its end."""
        ...

    def mark(self) -> E:
        """An event after all compute that has been queued."""
        ...

    def join(self, event: E) -> None:
        """Let compute that is queued from now on wait for the event."""
        ...


class StreamDevice(Generic[E]):
    """A device that copies and computes by itself, each in its own queue; here is what one has to wait for the other.

    Copies are queued at once by the engine thread, so that the copy engine goes from one to the next by itself. A copy
    into bytes that were given up waits, on the device, for the compute that was queued until then.
    """

    def __init__(self, arena: Arena, streams: Streams[E], forget: Callable[[int, int], None] = lambda *_: None) -> None:
        self.arena = arena
        self._forget = forget  # told the address and size of what is no unit's place any more
        self._streams = streams
        self._fences: Fences[E] = Fences()
        self._landing: dict[int, E] = {}  # by offset: copies that compute has not been told to wait for

    def copier(self, post: Callable[[Arrived], None]) -> Copier:
        return StreamCopier(post, self.begin)

    def begin(self, source: torch.Tensor, target: torch.Tensor) -> Callable[[], None]:
        """Queue a copy; returns what waits, on the host, until the bytes are there."""
        start = offset_of(target)
        event = self._streams.copy(source, target, self._fences.before(start, start + target.numel()))
        self._landing[start] = event
        return event.synchronize

    def retire(self, frame: torch.Tensor) -> None:
        start = offset_of(frame)
        self._landing.pop(start, None)
        self._fences.add(start, start + frame.numel(), self._streams.mark())

    def recut(self, offset: int, size_bytes: int) -> None:
        self._forget(self.arena.address + offset, size_bytes)

    def join(self, frame: torch.Tensor) -> None:
        self._streams.join(self._landing.pop(offset_of(frame)))


class CudaStreams:
    """A stream of its own for copies; compute is on whatever stream the engine thread has made current."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._copies = torch.cuda.Stream(device)

    def copy(self, source: torch.Tensor, target: torch.Tensor, after: torch.cuda.Event | None) -> torch.cuda.Event:
        if after is not None:
            self._copies.wait_event(after)
        with torch.cuda.stream(self._copies):
            for piece in registered_pieces(source):
                target[piece].copy_(source[piece], non_blocking=True)
        arrived = torch.cuda.Event(blocking=True)  # whoever waits sleeps: a spinning thread takes a core
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
    """A CUDA device with all memory for weights taken now; raises ConfigError where that cannot be had."""
    return StreamDevice(Arena(CudaMemory(budget_bytes, device)), CudaStreams(device), forget)
