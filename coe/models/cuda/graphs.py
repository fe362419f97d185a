"""Decode steps captured once and replayed, under a byte budget.

A captured step belongs to addresses: of the weights it reads, the pages it writes, its inputs. So it serves every
expert of a shape whose units lie there when it runs, and it is dropped with the memory of a unit. When the budget is
full the least recently used step is dropped. A step that cannot be captured (too many rows, too much context for the
workspace) or is not worth it yet runs eagerly. Owned by the engine thread. Knows nothing about CUDA: a `Recorder` does.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch

from coe.models.cuda.paged_kv import PagedKv
from coe.models.cuda.pinned import sent
from coe.models.cuda.static_step import BATCH_BUCKETS, Bucket, StaticStep, fill, num_blocks
from coe.models.model import Row

__all__ = ["DecodeGraphs", "Recorder", "Recording"]

log = logging.getLogger("coe.models.cuda.graphs")

WORTH_STEPS = 8  # a capture costs about what it saves in this many steps (an estimate)
MAX_WANTED = 256  # keys whose steps are counted
WORKSPACE_SHARE = 0.5  # of the budget, for gathered keys and values
MAX_WORKSPACE_BYTES = 1 << 30
_NEVER = -(1 << 62)  # the count of a key that must not be captured


class Recording(Protocol):
    """Work that was captured. `size_bytes`: what it takes by itself, beside the recorder's pool."""

    @property
    def size_bytes(self) -> int: ...
    def replay(self) -> None: ...
    def close(self) -> None: ...


class Recorder(Protocol):
    """Captures work on a device. `pool_bytes`: what all its recordings share, for as long as there are any."""

    @property
    def pool_bytes(self) -> int: ...

    def record(self, work: Callable[[], None]) -> Recording:
        """Run `work`, which may be run several times over, and capture it; raises torch.OutOfMemoryError."""
        ...


class _Key(NamedTuple):
    step: StaticStep
    addresses: tuple[int, ...]
    bucket: Bucket


@dataclass(slots=True)
class _Captured:
    recording: Recording
    inputs: torch.Tensor
    logits: torch.Tensor  # (rows, vocab), float32


class _Buffers(NamedTuple):
    """Buffers that all captured steps of a vocabulary share, because one runs at a time."""

    workspace: torch.Tensor  # flat bytes
    logits: torch.Tensor  # (largest batch, vocab), float32


class DecodeGraphs:
    """Captured decode steps of one device."""

    def __init__(self, budget_bytes: int, recorder: Recorder, *, worth_steps: int = WORTH_STEPS) -> None:
        self.budget_bytes = budget_bytes
        self._recorder = recorder
        self._worth_steps = worth_steps
        self._captured: OrderedDict[_Key, _Captured] = OrderedDict()  # least recently used first
        self._wanted: OrderedDict[_Key, int] = OrderedDict()
        self._logits: dict[int, torch.Tensor] = {}  # per vocabulary, (largest batch, vocab)
        self._workspace: torch.Tensor | None = None
        self.num_replays = 0

    @property
    def num_captured(self) -> int:
        return len(self._captured)

    @property
    def used_bytes(self) -> int:
        own = sum(captured.recording.size_bytes for captured in self._captured.values())
        return self._fixed_bytes + own + (self._recorder.pool_bytes if self._captured else 0)

    @property
    def _fixed_bytes(self) -> int:
        fixed = list(self._logits.values()) + ([self._workspace] if self._workspace is not None else [])
        return sum(tensor.numel() * tensor.itemsize for tensor in fixed)

    # -- running

    def run(self, step: StaticStep, weights: Sequence[Any], rows: Sequence[Row]) -> torch.Tensor | None:
        """Run one decode step of these rows and return logits, (rows, vocab), float32, valid until the next call.

        Returns None where there is no captured step and none is made: the caller runs the rows eagerly.
        """
        window = step.shape.window
        bucket = Bucket.of(len(rows), max(num_blocks(row, window) for row in rows))
        if bucket is None or step.workspace_bytes(bucket) > self._workspace_bytes:
            return None
        key = _Key(step, tuple(each[0].data_ptr() for each in weights), bucket)
        captured = self._captured.get(key)
        if captured is None and not self._is_worth_it(key):
            return None
        values = torch.tensor(fill(bucket, rows, window))
        logits = self._captured_now(key, weights, values) if captured is None else self._replay(key, values)
        if logits is not None:
            for row in rows:
                assert isinstance(row.kv, PagedKv)
                row.kv.advance(1)
        return None if logits is None else logits[: len(rows)]

    def _replay(self, key: _Key, values: torch.Tensor) -> torch.Tensor:
        captured = self._captured[key]
        self._captured.move_to_end(key)
        sent(values, captured.inputs.device, captured.inputs)
        captured.recording.replay()
        self.num_replays += 1
        return captured.logits

    def _captured_now(self, key: _Key, weights: Sequence[Any], values: torch.Tensor) -> torch.Tensor | None:
        """Capture a step and have it run once; None where there is no memory for it."""
        try:
            captured = self._capture(key, weights, values)
        except torch.OutOfMemoryError as error:
            log.warning("no memory to capture %s (%s): it runs eagerly; lower [cache] device_bytes", key.bucket, error)
            captured = None
        if captured is None:
            self._wanted[key] = _NEVER
            return None
        self._keep(key, captured)
        return captured.logits  # they were computed, whether the step is kept or not

    def _capture(self, key: _Key, weights: Sequence[Any], values: torch.Tensor) -> _Captured | None:
        """Capture a step and have it run once; None where the budget does not even hold what it reads and writes."""
        step, device = key.step, key.step.device
        buffers = self._buffers(weights, device)
        if buffers is None:
            return None
        inputs, logits = key.bucket.new_inputs(device), buffers.logits[: key.bucket.num_rows]
        sent(values, device, inputs)

        def work() -> None:
            with torch.inference_mode():
                logits.copy_(step.run(weights, inputs, buffers.workspace))

        return _Captured(self._recorder.record(work), inputs, logits)

    def _keep(self, key: _Key, captured: _Captured) -> None:
        """Keep a captured step in place of those used longest ago; not if it alone is more than the budget."""
        self._captured[key] = captured
        self._wanted.pop(key, None)
        log.info("capture %s bytes=%d used=%d", key.bucket, captured.recording.size_bytes, self.used_bytes)
        while len(self._captured) > 1 and self.used_bytes > self.budget_bytes:
            self._drop(next(iter(self._captured)))
        if self.used_bytes > self.budget_bytes:
            self._refuse(key, self.used_bytes)
            self._drop(key)

    def _refuse(self, key: _Key, size_bytes: int) -> None:
        text = "a captured step of %s takes %d bytes of [engine] graph_bytes = %d: it runs eagerly; raise graph_bytes"
        log.warning(text, key.bucket, size_bytes, self.budget_bytes)
        self._wanted[key] = _NEVER

    # -- what it takes

    @property
    def _workspace_bytes(self) -> int:
        return min(int(WORKSPACE_SHARE * self.budget_bytes), MAX_WORKSPACE_BYTES)

    def _buffers(self, weights: Sequence[Any], device: torch.device) -> _Buffers | None:
        """Made once; None where the budget has no room for them."""
        embed, *_, head = weights
        vocab = len(embed.weight if head.lm_head is None else head.lm_head)
        workspace, logits = self._workspace, self._logits.get(vocab)
        missing = (self._workspace_bytes if workspace is None else 0) + (
            0 if logits is not None else _logits_bytes(vocab)
        )
        if self._fixed_bytes + missing > self.budget_bytes:
            return None
        if workspace is None:
            workspace = self._workspace = torch.zeros(self._workspace_bytes, dtype=torch.uint8, device=device)
        if logits is None:
            logits = self._logits[vocab] = torch.zeros(BATCH_BUCKETS[-1], vocab, dtype=torch.float32, device=device)
        return _Buffers(workspace, logits)

    def _is_worth_it(self, key: _Key) -> bool:
        """Whether the step was wanted often enough; counts."""
        self._wanted[key] = self._wanted.get(key, 0) + 1
        self._wanted.move_to_end(key)
        while len(self._wanted) > MAX_WANTED:
            self._wanted.popitem(last=False)
        return self._wanted[key] >= self._worth_steps

    def forget(self, address: int, size_bytes: int) -> None:
        """Drop what was captured over units in these bytes: the device's memory is given back."""
        there = range(address, address + size_bytes)
        for key in [key for key in self._captured if any(each in there for each in key.addresses)]:
            self._drop(key)
        for key in [key for key in self._wanted if any(each in there for each in key.addresses)]:
            del self._wanted[key]

    def _drop(self, key: _Key) -> None:
        log.info("drop capture %s", key.bucket)
        self._captured.pop(key).recording.close()

    def close(self) -> None:
        for key in list(self._captured):
            self._drop(key)
        self._logits.clear()
        self._workspace = None

    def check_integrity(self) -> None:
        """Raise AssertionError if more is taken than the budget has."""
        assert self.used_bytes <= self.budget_bytes
        assert not self._captured.keys() & self._wanted.keys()


def _logits_bytes(vocab: int) -> int:
    return BATCH_BUCKETS[-1] * vocab * torch.float32.itemsize
