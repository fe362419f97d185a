"""What may change a sequence's logits before its next token is chosen: biases, penalties, bans.

Each sequence has processors of its own, made by `processors_of` in the order in which they apply. After them all comes
`masked`, once for the rows of a step whose answers have a grammar: what a grammar forbids nothing can allow.
Temperature and the filters (top-k, nucleus, min-p) follow, in sampling.py. Sources: OpenAI's API reference (logit_bias,
presence and frequency penalty), Keskar et al. 2019, arXiv 1909.05858 (repetition penalty).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from coe.models.cuda.pinned import sent
from coe.types import Sampling

__all__ = [
    "LogitBias",
    "LogitsProcessor",
    "MinTokens",
    "OccurrencePenalty",
    "RepetitionPenalty",
    "forbidden",
    "masked",
    "processors_of",
]

# what to add to the logits of eight tokens, by a byte of a mask: (256, 8)
_ALLOWED = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
_ADDENDS = np.where(_ALLOWED, 0.0, -np.inf).astype(np.float32)


class LogitsProcessor(Protocol):
    """One sequence's own; may keep what it knows of the output so far, which only grows."""

    def __call__(self, logits: torch.Tensor, output_ids: Sequence[int]) -> torch.Tensor:
        """Return the logits to go on with, (vocab,) float32, after these output tokens; never changes its argument."""
        ...


def processors_of(
    sampling: Sampling, prompt_ids: Sequence[int], eos_ids: Collection[int]
) -> tuple[LogitsProcessor, ...]:
    """Return what a request asks for and nothing that would change nothing."""
    presence, frequency = sampling.presence_penalty or 0.0, sampling.frequency_penalty or 0.0
    repetition = 1.0 if sampling.repetition_penalty is None else sampling.repetition_penalty
    processors: list[LogitsProcessor] = []
    if sampling.logit_bias:
        processors.append(LogitBias(sampling.logit_bias))
    if repetition != 1.0:
        processors.append(RepetitionPenalty(repetition, prompt_ids))
    if presence or frequency:
        processors.append(OccurrencePenalty(presence, frequency))
    if sampling.min_tokens and eos_ids and not sampling.ignore_eos:
        processors.append(MinTokens(sampling.min_tokens, eos_ids))
    return tuple(processors)


def masked(logits: torch.Tensor, masks: Mapping[int, NDArray[np.int32]]) -> torch.Tensor:
    """Return logits, (rows, vocab), with -inf for what the masks of some rows forbid, by one operator for all rows.

    A mask is packed, (words,) int32, as coe/grammar/matcher.py has it; a token beyond its words is forbidden. The
    argument is not changed.
    """
    rows, vocab = logits.shape
    words = np.full((rows, (vocab + 31) // 32), -1, dtype=np.int32)
    for row, mask in masks.items():
        size = min(len(mask), words.shape[1])
        words[row, :size], words[row, size:] = mask[:size], 0
    if logits.device.type != "cpu":
        return logits.masked_fill(forbidden(sent(torch.from_numpy(words), logits.device), vocab), -math.inf)
    # 20 microseconds a row of 49k; masked_fill branches at every element and takes 50 to 300
    addends = torch.from_numpy(_ADDENDS.take(words.view(np.uint8), axis=0).reshape(rows, -1))
    return addends[:, :vocab].add_(logits)


def forbidden(words: torch.Tensor, vocab: int) -> torch.Tensor:
    """Return the zeros of packed masks, (rows, words) int32, as True, (rows, vocab)."""
    places = torch.arange(32, device=words.device, dtype=torch.int32)
    return ((words[:, :, None] >> places) & 1).flatten(1)[:, :vocab] == 0


class LogitBias:
    """Adds to the logits of given tokens."""

    def __init__(self, bias: Mapping[int, float]) -> None:
        self._ids, self._values = torch.tensor(list(bias)), torch.tensor(list(bias.values()), dtype=torch.float32)

    def __call__(self, logits: torch.Tensor, output_ids: Sequence[int]) -> torch.Tensor:  # noqa: ARG002
        self._ids, self._values = self._ids.to(logits.device), self._values.to(logits.device)
        return logits.index_add(0, self._ids, self._values)


class RepetitionPenalty:
    """Makes what the prompt or the output has had less likely (penalty above 1): its logit divided, or multiplied if
    negative, as transformers has it."""

    def __init__(self, penalty: float, prompt_ids: Sequence[int]) -> None:
        self._penalty = penalty
        self._seen = _Counts(prompt_ids)

    def __call__(self, logits: torch.Tensor, output_ids: Sequence[int]) -> torch.Tensor:
        penalised = torch.where(logits < 0, logits * self._penalty, logits / self._penalty)
        return torch.where(self._seen.upto(output_ids, logits) > 0, penalised, logits)


class OccurrencePenalty:
    """Takes `presence` once and `frequency` per occurrence from the logits of tokens in the output; the prompt's are
    not counted."""

    def __init__(self, presence: float, frequency: float) -> None:
        self._presence, self._frequency = presence, frequency
        self._seen = _Counts(())

    def __call__(self, logits: torch.Tensor, output_ids: Sequence[int]) -> torch.Tensor:
        counts = self._seen.upto(output_ids, logits)
        return logits - self._frequency * counts - self._presence * (counts > 0)


class MinTokens:
    """Forbids the end of sequence until so many tokens are there."""

    def __init__(self, min_tokens: int, eos_ids: Collection[int]) -> None:
        self._min_tokens, self._eos_ids = min_tokens, torch.tensor(sorted(eos_ids))

    def __call__(self, logits: torch.Tensor, output_ids: Sequence[int]) -> torch.Tensor:
        if len(output_ids) >= self._min_tokens:
            return logits
        self._eos_ids = self._eos_ids[self._eos_ids < len(logits)].to(logits.device)  # a config may name others
        return logits.index_fill(0, self._eos_ids, -math.inf)


class _Counts:
    """How often each token has come, (vocab,); takes in only what is new."""

    def __init__(self, first_ids: Sequence[int]) -> None:
        self._new_ids = list(first_ids)
        self._num_taken = 0
        self._counts: torch.Tensor | None = None

    def upto(self, output_ids: Sequence[int], like: torch.Tensor) -> torch.Tensor:
        if self._counts is None:
            self._counts = torch.zeros_like(like)
        new_ids = [*self._new_ids, *output_ids[self._num_taken :]]
        if new_ids:
            ids = torch.tensor(new_ids, device=like.device)
            self._counts.index_add_(0, ids, torch.ones_like(ids, dtype=like.dtype))
        self._new_ids, self._num_taken = [], len(output_ids)
        return self._counts
