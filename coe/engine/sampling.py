"""From logits to the next token, one sequence at a time.

Greedy at temperature 0; else temperature, top-k and nucleus filtering (Holtzman et al. 2020, arXiv 1904.09751) and one
draw from a stream of the sequence's own, so that a seed gives the same tokens whoever else is in the batch.
"""

from __future__ import annotations

import torch

from coe.types import Sampling

__all__ = ["Sampler"]


class Sampler:
    """Chooses tokens for one sequence; `sampling` has no None left but `seed`."""

    def __init__(self, sampling: Sampling) -> None:
        self._temperature = sampling.temperature if sampling.temperature is not None else 1.0
        self._top_p = sampling.top_p if sampling.top_p is not None else 1.0
        self._top_k = sampling.top_k or 0
        self._stream = torch.Generator()
        if sampling.seed is None:
            self._stream.seed()
        else:
            self._stream.manual_seed(sampling.seed % (1 << 63))

    @property
    def is_greedy(self) -> bool:
        return self._temperature == 0.0

    def __call__(self, logits: torch.Tensor) -> int:
        """The next token id from float32 logits, (vocab,)."""
        if self.is_greedy:
            return int(logits.argmax())
        return self._draw(logits.cpu() / self._temperature)

    def _draw(self, logits: torch.Tensor) -> int:
        size = min(self._top_k or logits.numel(), logits.numel())
        top, ids = torch.topk(logits, size)
        probabilities = torch.softmax(top, dim=0)
        cumulative = probabilities.cumsum(0)
        # a token stays if the mass before it is below top_p, so the first always does
        kept = int((cumulative - probabilities < self._top_p).sum())
        kept = max(kept, 1)
        mass = cumulative[:kept]
        at = torch.rand((), generator=self._stream) * mass[-1]
        return int(ids[min(int(torch.searchsorted(mass, at, right=True)), kept - 1)])
