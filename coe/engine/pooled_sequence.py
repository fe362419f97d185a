"""A text that an embedding or rerank expert reads in one step: its tokens, and where its vector or score goes.

Stands beside Sequence in the engine: it samples nothing, keeps no KV and ends with its first step. Owned by the engine
thread; `sink` is called on it, first with Admitted, then with Pooled or with the error that ends it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from coe.errors import CoeError
from coe.models.model import Kv
from coe.scheduling.job import Job
from coe.types import Admitted
from coe.weights.lease import Lease

__all__ = ["Pooled", "PooledSequence", "PooledSink"]


class Pooled(NamedTuple):
    """What was read of a text: a vector, or one score."""

    values: NDArray[np.float32]


PooledSink = Callable[[Admitted | Pooled | CoeError], object]


@dataclass(slots=True, eq=False)
class PooledSequence:
    """One text, or one pair, whose second text begins at `second_from`."""

    id: str
    expert: str
    prompt_ids: tuple[int, ...]
    sink: PooledSink
    submitted_s: float
    second_from: int | None = None
    job: Job = field(init=False)  # the scheduler's, from `new_job` on
    kv: Kv | None = None

    def new_job(self, kv_bytes: Callable[[int], int]) -> Job:
        """Make its job, which runs whole."""
        num_tokens = len(self.prompt_ids)
        self.job = Job(self.id, self.expert, num_tokens, num_tokens, kv_bytes, self.submitted_s, is_whole=True)
        return self.job

    def begin(self, kv: Kv, lease: Lease, now_s: float) -> None:
        del lease, now_s
        self.kv = kv

    def free_kv(self) -> None:
        self.kv = None

    def next_ids(self, num_tokens: int) -> tuple[int, ...]:
        """Return all of its tokens: it has no other step."""
        assert num_tokens == len(self.prompt_ids)
        return self.prompt_ids

    def num_logits(self, num_tokens: int) -> int:
        del num_tokens
        return 1

    def take(self, read: torch.Tensor) -> bool:
        """Take what its step has read, (1, dims), and send it; False, and nothing is sent, if these are no numbers."""
        values = read[0].cpu().numpy().copy()
        if not np.isfinite(values).all():
            return False
        self.sink(Pooled(values))
        return True

    def check_integrity(self) -> None:
        """Raise AssertionError if its job counts other tokens than it has."""
        assert self.job.num_known == len(self.prompt_ids), self.id
