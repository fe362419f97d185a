"""The fields of a request that say how the next token is chosen and when to stop: the same in every dialect.

Null stands for the expert's own default, and -1 turns `top_k` and a limit of tokens off. Knows nothing about what the
limit and the stop strings are called.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field

from coe.types import Sampling

__all__ = ["NumTokens", "SamplingFields", "unlimited"]

UNLIMITED = 2**31 - 1  # tokens; the expert's context is the limit


def unlimited(value: Any) -> Any:
    return UNLIMITED if value == -1 else value


NumTokens = Annotated[int, Field(ge=1), BeforeValidator(unlimited)]
_TokenId = Annotated[int, Field(ge=0)]
_Bias = Annotated[float, Field(ge=-100, le=100)]


class SamplingFields(BaseModel):
    """OpenAI's, and beside them `top_k`, `min_p`, `repetition_penalty`, `min_tokens` and `ignore_eos`."""

    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1)
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, gt=0, le=10)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    logit_bias: dict[_TokenId, _Bias] | None = None
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    min_tokens: int | None = Field(None, ge=0)
    ignore_eos: bool | None = None

    def sampled(self, max_tokens: int | None, stop: Sequence[str], num_logprobs: int | None = None) -> Sampling:
        """Return the sampling that the fields ask for."""
        return Sampling(
            max_tokens=max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=0 if self.top_k == -1 else self.top_k,
            seed=None if self.seed is None else self.seed % (1 << 63),
            stop=tuple(stop),
            min_p=self.min_p,
            repetition_penalty=self.repetition_penalty,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            logit_bias=self.logit_bias or {},
            min_tokens=self.min_tokens or 0,
            ignore_eos=bool(self.ignore_eos),
            num_logprobs=num_logprobs,
        )
