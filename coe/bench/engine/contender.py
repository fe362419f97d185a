"""The seam of `coe bench engine`: prompts as token ids in, tokens and the seconds at which each of them came out.

A contender generates greedily without looking at end-of-sequence. Its weights are open before the clock starts.
"""

from __future__ import annotations

from collections.abc import Sequence as Rows
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from coe.bench.report import median

__all__ = ["Contender", "Speeds", "Trace", "same_share"]


class Trace(NamedTuple):
    """One run: per sequence, its tokens and the seconds from submission to each of them."""

    token_ids: list[list[int]]
    token_s: list[list[float]]

    @property
    def first_s(self) -> list[float]:
        return [times[0] for times in self.token_s]

    @property
    def prefilled_s(self) -> float:
        """When the last sequence had its first token."""
        return max(self.first_s)

    @property
    def decode_tokens_per_s(self) -> float:
        """Tokens that came after everybody's first, per second: decoding alone, at full batch."""
        end_s = max(times[-1] for times in self.token_s)
        count = sum(at_s > self.prefilled_s for times in self.token_s for at_s in times)
        return count / (end_s - self.prefilled_s)


class Contender(Protocol):
    name: str

    def run(self, prompts: Rows[list[int]], num_tokens: int) -> Trace:
        """Generate `num_tokens` for every prompt at once."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Speeds:
    """What runs of one batch show; medians over runs. A prefill ends when the last sequence has its first token."""

    decode_tokens_per_s: float
    prefill_tokens_per_s: float
    first_token_ms: float
    last_first_token_ms: float

    @classmethod
    def of(cls, traces: Rows[Trace], num_prompt_tokens: int) -> Speeds:
        """`num_prompt_tokens` counts those of the whole batch."""
        return cls(
            decode_tokens_per_s=round(median([trace.decode_tokens_per_s for trace in traces]), 2),
            prefill_tokens_per_s=round(median([num_prompt_tokens / trace.prefilled_s for trace in traces]), 1),
            first_token_ms=round(median([median(trace.first_s) for trace in traces]) * 1e3, 3),
            last_first_token_ms=round(median([trace.prefilled_s for trace in traces]) * 1e3, 3),
        )


def same_share(texts: Rows[list[int]], others: Rows[list[int]]) -> float:
    """Return the share of texts that are the same in both."""
    return round(sum(text == other for text, other in zip(texts, others, strict=True)) / len(texts), 3)
