"""A request as the scheduler sees it: how many tokens, how much memory they take, and how far it is.

Knows nothing about text, tensors or time; `scheduler.py` changes it and nobody else does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["AHEAD_TOKENS", "Job"]

AHEAD_TOKENS = 64  # of room that there must be for everybody before one more may begin


@dataclass(slots=True, eq=False)
class Job:
    """Lives from its arrival until it ends. One that was preempted has its answer so far among the tokens to prefill.

    `kv_bytes` says what so many tokens of its expert take; `num_tokens_max` is the most that it can come to.
    `prompt_donor` is the job of the same request whose prompt it shares: it begins when that one's keys and values are
    there to be copied.
    """

    id: str
    expert: str
    num_prompt_tokens: int
    num_tokens_max: int
    kv_bytes: Callable[[int], int]
    arrived_s: float
    prompt_donor: str | None = None
    number: int = 0  # the scheduler numbers them as they arrive: a smaller one is older
    reserved_bytes: int = 0  # none before it begins
    num_prefilled: int = 0
    is_cancelled: bool = False  # its client went away while it was in a step
    is_expired: bool = False  # it was failed while it was in a step
    was_preempted: bool = False  # it had begun once
    num_generated: int = 0  # since it began, or began again

    @property
    def is_started(self) -> bool:
        return self.reserved_bytes > 0

    @property
    def is_leaving(self) -> bool:
        """Whether nobody waits for it any more; it leaves when the step that it is in ends."""
        return self.is_cancelled or self.is_expired

    @property
    def is_decoding(self) -> bool:
        return self.num_prefilled == self.num_prompt_tokens

    @property
    def num_known(self) -> int:
        """Tokens of its prompt and of its answer so far: what its KV holds when all of them have run."""
        return self.num_prompt_tokens + self.num_generated

    @property
    def growth_bytes(self) -> int:
        """What it must reserve before its next step, beside what it has reserved."""
        return self.kv_bytes(self.num_known) - self.reserved_bytes

    @property
    def ahead_bytes(self) -> int:
        """All that it has reserved when it has said AHEAD_TOKENS more, or its last."""
        return self.kv_bytes(min(self.num_tokens_max, self.num_known + AHEAD_TOKENS))
