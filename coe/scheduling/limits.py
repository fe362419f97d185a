"""The scheduler's limits, as assembly takes them from `[scheduler]` and `[engine]` of the configuration."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes and times that the scheduler keeps to."""

    max_batch_size: int = 16  # jobs of one expert in a step
    max_step_tokens: int = 512
    max_queue: int = 256  # jobs that have not begun
    max_queue_per_expert: int = 128
    deadline_s: float = 300.0  # from arrival to the first token
    max_wait_s: float = 2.0  # from arrival until a job that has not begun is overdue
    slice_steps: int = 16  # steps under one lease before another expert may have its memory
    kv_bytes: int = 1 << 30
