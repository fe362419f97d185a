"""From logits to next tokens, a batch at a time, and to log-probabilities.

Greedy at temperature 0; else temperature, then top-k, nucleus (Holtzman et al. 2020, arXiv 1904.09751) and min-p
(Nguyen et al. 2024, arXiv 2407.01082), in transformers' order, and one draw from a stream of the sequence's own, so
that a seed gives the same tokens whatever else is in the batch. Matmuls of another batch size differ in a logit's last
bits, and the draw must not turn those into other tokens: it is a race of exponential clocks (probability over noise,
the largest wins), which only a near tie of two tokens can turn. Inverting the cumulative distribution would have an
edge at every token. The race is run twice, for a block of the vocabulary and for a token in it, which takes a hundredth
of the noise.

On a GPU the host's values are copied without waiting, and only the chosen tokens come back. Log-probabilities and
penalties wait for more. Logits that are no numbers choose nothing, which costs one reduction of the row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from coe.engine.logits_processor import LogitsProcessor, masked
from coe.grammar.matcher import Matcher
from coe.models.cuda.pinned import sent
from coe.types import Sampling

__all__ = ["Logprob", "Sampled", "Sampler", "Waiting", "filtered", "logprobs_of", "sample"]

ALMOST_GREEDY = 1e-5  # dividing by less would overflow
NO_TOKEN = -1
BLOCK = 256  # tokens of a block; about the root of a vocabulary's size needs the least noise
CANDIDATES = 1024  # what top-p looks at first on a CPU: sorting a whole vocabulary costs milliseconds


class Logprob(NamedTuple):
    """A token's natural log-probability under the model, and the likeliest tokens at its place, best first."""

    logprob: float
    top: tuple[tuple[int, float], ...]


class Sampled(NamedTuple):
    """A chosen token; `logprob` is None where the request did not ask for it."""

    token_id: int
    logprob: Logprob | None


class Sampler:
    """How one sequence chooses: its settings, its processors, its grammar's matcher and its random stream.

    `choice` tells apart the streams of several answers to one request.
    """

    def __init__(
        self,
        sampling: Sampling,
        processors: Sequence[LogitsProcessor] = (),
        choice: int = 0,
        matcher: Matcher | None = None,
    ) -> None:
        self.processors = tuple(processors)
        self.matcher = matcher
        self.temperature = 1.0 if sampling.temperature is None else sampling.temperature
        self.top_p = 1.0 if sampling.top_p is None else sampling.top_p
        self.top_k = sampling.top_k or 0
        self.min_p = sampling.min_p or 0.0
        self.num_logprobs = sampling.num_logprobs
        self._stream = np.random.default_rng(None if sampling.seed is None else (sampling.seed, choice))

    @property
    def is_greedy(self) -> bool:
        return self.temperature < ALMOST_GREEDY

    def exponentials(self, count: int) -> NDArray[np.float64]:
        """Return the next numbers of this sequence's stream, exponentially distributed, all above 0."""
        return np.maximum(-np.log1p(-self._stream.random(count)), 1e-30)


class Waiting(NamedTuple):
    """A sequence that waits for its next token."""

    sampler: Sampler
    output_ids: Sequence[int]


@torch.inference_mode()
def sample(logits: torch.Tensor, waiting: Sequence[Waiting]) -> list[Sampled | None]:
    """Choose the next token of each sequence from its row of float32 logits, (rows, vocab), which are not changed.

    None for a row with a NaN, with an infinity or with nothing but -inf: damaged weights have no next token. A matcher
    is waited for, and must have no failure.
    """
    if not waiting:
        return []
    processed = _process(logits, waiting)
    drawn = [row for row, (sampler, _) in enumerate(waiting) if not sampler.is_greedy]
    if len(drawn) == len(waiting):
        ids = _draw(processed, [sampler for sampler, _ in waiting])
    else:
        ids = processed.argmax(dim=-1)
        if drawn:
            rows = sent(torch.tensor(drawn), logits.device)
            ids[rows] = _draw(processed[rows], [waiting[row].sampler for row in drawn])
    ids = torch.where(logits.amax(dim=-1).isfinite(), ids, NO_TOKEN)  # the largest of a row with a NaN is NaN
    token_ids: list[int] = ids.tolist()
    logprobs = _asked_logprobs(logits, token_ids, [sampler.num_logprobs for sampler, _ in waiting])
    return [
        None if token_id == NO_TOKEN else Sampled(token_id, logprobs.get(row)) for row, token_id in enumerate(token_ids)
    ]


@torch.inference_mode()
def logprobs_of(logits: torch.Tensor, token_ids: Sequence[int], num_top: int) -> list[Logprob]:
    """Return log-probabilities of one token per row of float32 logits, (rows, vocab), and of the `num_top`
    likeliest."""
    if not token_ids:
        return []
    total = logits.logsumexp(dim=-1, keepdim=True)
    chosen = logits.gather(1, torch.tensor(token_ids, device=logits.device)[:, None]) - total
    top, top_ids = logits.topk(min(num_top, logits.shape[1]), dim=-1)
    values, ids = (top - total).tolist(), top_ids.tolist()
    return [
        Logprob(own, tuple(zip(row_ids, row, strict=True)))
        for own, row_ids, row in zip(chosen[:, 0].tolist(), ids, values, strict=True)
    ]


def _asked_logprobs(
    logits: torch.Tensor, token_ids: Sequence[int], num_top: Sequence[int | None]
) -> dict[int, Logprob]:
    """Return log-probabilities by row, of the rows that asked and have a token."""
    asked = {row: num for row, num in enumerate(num_top) if num is not None and token_ids[row] != NO_TOKEN}
    if not asked:
        return {}
    rows = torch.tensor(list(asked), device=logits.device)
    found = logprobs_of(logits[rows], [token_ids[row] for row in asked], max(asked.values()))
    return {row: Logprob(own, top[:num]) for (row, num), (own, top) in zip(asked.items(), found, strict=True)}


def _process(logits: torch.Tensor, waiting: Sequence[Waiting]) -> torch.Tensor:
    processed = _each_processed(logits, waiting)
    masks = {row: each.sampler.matcher.mask() for row, each in enumerate(waiting) if each.sampler.matcher is not None}
    return masked(processed, masks) if masks else processed


def _each_processed(logits: torch.Tensor, waiting: Sequence[Waiting]) -> torch.Tensor:
    if not any(sampler.processors for sampler, _ in waiting):
        return logits
    rows = list(logits.unbind(0))
    for at, (sampler, output_ids) in enumerate(waiting):
        for processor in sampler.processors:
            rows[at] = processor(rows[at], output_ids)
    return torch.stack(rows)


def _draw(logits: torch.Tensor, samplers: Sequence[Sampler]) -> torch.Tensor:
    """Return one token id per row, (rows,)."""
    device, num_blocks = logits.device, -(-logits.shape[1] // BLOCK)
    count = num_blocks + BLOCK
    known = np.stack([np.append(sampler.exponentials(count), sampler.temperature) for sampler in samplers])
    clocks, temperatures = sent(torch.from_numpy(known).float(), device).split((count, 1), dim=1)
    weights = filtered(torch.softmax(logits / temperatures, dim=-1), samplers)
    blocks = F.pad(weights, (0, -logits.shape[1] % BLOCK)).unflatten(1, (-1, BLOCK))  # (rows, blocks, BLOCK)
    block = (blocks.sum(dim=-1) / clocks[:, :num_blocks]).argmax(dim=-1)
    inside = blocks[torch.arange(len(samplers), device=device), block]
    token_ids: torch.Tensor = block * BLOCK + (inside / clocks[:, num_blocks:]).argmax(dim=-1)
    return token_ids


def filtered(probabilities: torch.Tensor, samplers: Sequence[Sampler]) -> torch.Tensor:
    """Return the probabilities, (rows, vocab), with 0 for what top-k, top-p and min-p leave out; ties stay together."""
    vocab, device = probabilities.shape[1], probabilities.device
    if all(not s.top_k and s.top_p >= 1.0 and not s.min_p for s in samplers):
        return probabilities
    asked = [[min(s.top_k or vocab, vocab), s.top_p, s.min_p] for s in samplers]
    top_k, top_p, min_p = sent(torch.tensor(asked, dtype=torch.float64), device).split(1, dim=1)
    top_k, top_p, min_p = top_k.long(), top_p.float(), min_p.float()
    first = max([CANDIDATES, *(s.top_k for s in samplers)]) if device.type == "cpu" else vocab
    likeliest = probabilities.topk(min(first, vocab), dim=-1).values
    least = _least(likeliest, vocab, top_k, top_p)
    if least is None:
        least = _least(probabilities.sort(dim=-1, descending=True).values, vocab, top_k, top_p)
    assert least is not None
    return torch.where(probabilities >= torch.maximum(least, min_p * likeliest[:, :1]), probabilities, 0.0)


def _least(likeliest: torch.Tensor, vocab: int, top_k: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor | None:
    """Return the least probability that top-k and top-p keep, (rows, 1), from the likeliest in falling order.

    None if these are too few to tell.
    """
    size, is_all = likeliest.shape[1], top_k >= vocab
    cumulative = likeliest.double().cumsum(dim=-1)
    last = (top_k - 1).clamp(max=size - 1)
    mass = torch.where(is_all, 1.0, cumulative.gather(1, last))  # top-p is a share of what top-k has left
    if size < vocab and not bool(((cumulative[:, -1:] >= top_p * mass) | (top_p >= 1.0)).all()):
        return None
    # a token stays if the mass before it is below top_p, so the first always does
    num_kept = ((cumulative - likeliest) < top_p * mass).sum(dim=-1, keepdim=True).clamp(min=1)
    by_k = torch.where(is_all, 0.0, likeliest.gather(1, last))
    by_p = torch.where(top_p >= 1.0, 0.0, likeliest.gather(1, num_kept - 1))
    return torch.maximum(by_k, by_p)
