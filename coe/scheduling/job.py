"""Job: a request as the scheduler sees it, in numbers of tokens and bytes of KV.

Knows nothing about text, tensors or time. The scheduler owns every job and alone changes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["AHEAD_TOKENS", "Job"]

AHEAD_TOKENS = 64  # growth of every started job that must fit into the KV budget before another job may begin


@dataclass(slots=True, eq=False)
class Job:
    """One sequence from its arrival to its end; a preempted job waits and begins again.

    `kv_bytes` maps a number of tokens of this expert to bytes of KV; `num_tokens_max` is the most tokens whose KV the
    job can come to need. `prompt_donor` is the id of the job of the same request whose prompt this one shares: it
    begins when the donor is prefilled and copies its KV.

    A job brings `num_prefill_tokens` to its steps until all of them are prefilled, and then samples one token a step.
    They are its prompt and, after a preemption, also the answer that it had given before. A job that `is_whole` brings
    all of them to one step: its expert's attention looks both ways.
    """

    id: str
    expert: str
    num_prefill_tokens: int
    num_tokens_max: int
    kv_bytes: Callable[[int], int]
    arrived_s: float
    prompt_donor: str | None = None
    deadline_s: float | None = None  # from arrival to the first token; None: as long as any request has
    request: str = ""  # whose choice it is; jobs of one request have the same
    number: int = 0  # in order of arrival: the smaller one is older
    is_whole: bool = False
    has_begun: bool = False  # and was not preempted since
    reserved_bytes: int = 0  # of the KV budget; 0 before it begins
    num_prefilled: int = 0
    num_generated: int = 0  # since it began, or began again
    was_preempted: bool = False
    is_cancelled: bool = False  # its client went away while it was in a step
    is_expired: bool = False  # its deadline passed, and its request ended with an error

    @property
    def is_started(self) -> bool:
        return self.has_begun

    @property
    def is_leaving(self) -> bool:
        """Whether it was cancelled or has expired; it is removed when the step that it is in ends."""
        return self.is_cancelled or self.is_expired

    @property
    def is_decoding(self) -> bool:
        return self.num_prefilled == self.num_prefill_tokens

    @property
    def has_deadline(self) -> bool:
        """Whether its deadline can end it: it has given no token, was never preempted and is not leaving already."""
        return not self.is_decoding and not self.is_leaving and not self.was_preempted

    @property
    def num_known(self) -> int:
        """Tokens of its prompt and of its answer so far: its KV holds them all when they have run."""
        return self.num_prefill_tokens + self.num_generated

    @property
    def growth_bytes(self) -> int:
        """Bytes to reserve before its next step, beside those it has reserved."""
        return self.kv_bytes(self.num_known) - self.reserved_bytes

    @property
    def ahead_bytes(self) -> int:
        """Bytes that it will have reserved AHEAD_TOKENS later, or at its longest if that is sooner."""
        return self.kv_bytes(min(self.num_tokens_max, self.num_known + AHEAD_TOKENS))

    def advance(self, num_tokens: int) -> None:
        """Count a step that ran so many of its tokens, and the token sampled from it if all are prefilled."""
        self.num_prefilled = min(self.num_prefill_tokens, self.num_prefilled + num_tokens)
        self.num_generated += self.is_decoding

    def restart(self) -> None:
        """Count its answer so far among the tokens to prefill: its KV was preempted."""
        self.was_preempted = True
        self.num_prefill_tokens += self.num_generated
        self.num_prefilled = self.num_generated = 0
