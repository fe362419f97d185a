"""One choice of a request inside the engine: its tokens, its KV, its sampler and where its events go.

Owned by the engine thread from submission to the end. `sink` is called on that thread with every event, or with the
error that ends the sequence; it must only hand the event over. The first choice's sink also gets Admitted, when the
engine has taken in all choices. A scored sequence gives the log-probabilities of its
prompt's tokens from `score_from` on, before its answer, or instead of one where `max_tokens` is 0.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from coe.engine.sampling import Sampled, Sampler, Waiting, logprobs_of
from coe.errors import CoeError
from coe.models.model import Kv
from coe.scheduling.job import Job
from coe.text.detokenizer import Detokenizer
from coe.text.vocabulary import Vocabulary
from coe.types import Admitted, Delta, Finished, FinishReason, PromptScored, Switch, TokenLogprob, Usage
from coe.weights.lease import Lease, LoadCost

__all__ = ["Sequence", "Sink"]

Sink = Callable[[Admitted | PromptScored | Delta | Finished | CoeError], None]


class _Unsent(NamedTuple):
    """A token's log-probability, held until its text, which begins at character `start`, is sent."""

    start: int
    logprob: TokenLogprob


@dataclass(slots=True, eq=False)
class Sequence:
    """One answer under way. `index` tells apart the choices of a request; any of `eos_ids` ends it."""

    id: str
    expert: str
    prompt_ids: tuple[int, ...]
    max_tokens: int
    eos_ids: frozenset[int]
    sampler: Sampler
    detokenizer: Detokenizer
    vocabulary: Vocabulary
    sink: Sink
    submitted_s: float
    index: int = 0
    min_tokens: int = 0
    job: Job = field(init=False)  # the scheduler's, from `new_job` on; it counts the tokens
    prompt_donor: str | None = None  # the first choice of its request, whose prompt it shares
    prefix_group: str = ""  # whose KV it may start from, and who may start from its own
    deadline_s: float | None = None  # seconds from submission to the first token, None: as long as any has
    score_from: int | None = None  # tokens of the prompt from here on are scored; the very first follows nothing
    kv: Kv | None = None
    output_ids: list[int] = field(default_factory=list)
    started_s: float | None = None
    first_token_s: float | None = None
    last_token_s: float | None = None
    lease: Lease | None = None  # of its first step
    num_cached: int = 0  # tokens of the prompt whose KV was copied when it began
    _scored: list[TokenLogprob] = field(default_factory=list)
    _unsent: deque[_Unsent] = field(default_factory=deque)

    def new_job(self, kv_bytes: Callable[[int], int]) -> Job:
        """Make its job, which counts its tokens from now on; `kv_bytes` maps a number of tokens to bytes of KV."""
        num_tokens_max = len(self.prompt_ids) + max(self.max_tokens - 1, 0)  # the last sampled token is never run
        request = self.prompt_donor or self.id
        num_tokens = len(self.prompt_ids)
        self.job = Job(self.id, self.expert, num_tokens, num_tokens_max, kv_bytes, self.submitted_s, request=request)
        self.job.deadline_s = self.deadline_s
        return self.job

    @property
    def num_reusable(self) -> int:
        """How many leading tokens may have their KV copied: those whose logits it does not need."""
        return self.job.num_known - 1 if self.score_from is None or self.output_ids else self._first_scored - 1

    @property
    def is_prefilled(self) -> bool:
        """Whether its KV holds all known tokens, so that the next one can be sampled."""
        return self.kv is not None and self.kv.length >= self.job.num_known

    @property
    def waiting(self) -> Waiting:
        return Waiting(self.sampler, self.output_ids)

    @property
    def _first_scored(self) -> int:
        return max(self.score_from or 0, 1)

    def next_ids(self, num_tokens: int) -> tuple[int, ...]:
        """Return the tokens that its next step brings."""
        assert self.kv is not None
        return self.known_ids(self.kv.length, self.kv.length + num_tokens)

    def known_ids(self, start: int, end: int) -> tuple[int, ...]:
        """Return tokens of the prompt and then of the answer, from place `start` to before `end`."""
        size = len(self.prompt_ids)
        return (*self.prompt_ids[start:end], *self.output_ids[max(0, start - size) : max(0, end - size)])

    def num_logits(self, num_tokens: int) -> int:
        """Return how many of its next step's last tokens need logits: those that are scored, and the one sampled
        from."""
        assert self.kv is not None
        start, end = self.kv.length, self.kv.length + num_tokens
        if self.score_from is not None and start < len(self.prompt_ids):
            return end - max(start, min(end, self._first_scored - 1))
        return int(end >= self.job.num_known)

    def begin(self, kv: Kv, lease: Lease, now_s: float) -> None:
        """Take KV, which may hold leading tokens already; again after `free_kv`."""
        self.kv = kv
        if self.started_s is None:
            self.lease, self.started_s, self.num_cached = lease, now_s, kv.length

    def free_kv(self) -> None:
        """Free its KV, which is computed again later; no token of the answer is lost."""
        self.kv = None
        self._scored.clear()

    def score(self, logits: torch.Tensor) -> bool:
        """Take a step's logits, (num_logits, vocab): each row but one to sample from scores the prompt's next token.

        False if they are no numbers; then nothing is sent.
        """
        if self.score_from is None or self.output_ids:
            return True
        first = self._first_scored + len(self._scored)
        token_ids = self.prompt_ids[first : first + len(logits)]
        logprobs = logprobs_of(logits[: len(token_ids)], token_ids, self.sampler.num_logprobs or 0)
        if any(math.isnan(each.logprob) for each in logprobs):
            return False
        self._scored += map(self.vocabulary.named, token_ids, logprobs)
        if self.is_prefilled:
            unscored = self.prompt_ids[self.score_from : self._first_scored]
            start = [self.vocabulary.named(token_id, None) for token_id in unscored]
            self.sink(PromptScored((*start, *self._scored), self.index))
        return True

    def grammar_failure(self) -> CoeError | None:
        """Return why no token can follow in its grammar, None where one can; waits for what may follow."""
        return None if self.sampler.matcher is None else self.sampler.matcher.failure()

    def end(self, now_s: float) -> None:
        """End a sequence that is only scored."""
        self.first_token_s = now_s
        self._finish("", FinishReason.LENGTH)

    def take(self, sampled: Sampled, now_s: float) -> bool:
        """Take a sampled token and send what it adds; True if the sequence has ended with it."""
        if self.first_token_s is None:
            self.first_token_s = now_s
        self.last_token_s = now_s
        token_id, may_stop = sampled.token_id, len(self.output_ids) >= self.min_tokens
        self.output_ids.append(token_id)
        if token_id in self.eos_ids:
            return self._finish(self.detokenizer.finish(), FinishReason.STOP)
        if self.sampler.matcher is not None:
            self.sampler.matcher.take(self.output_ids)  # first of all: it has until the next forward pass has ended
        if sampled.logprob is not None:
            named = self.vocabulary.named(token_id, sampled.logprob)
            self._unsent.append(_Unsent(self.detokenizer.num_decoded, named))
        text = self.detokenizer.push(token_id, may_stop=may_stop)
        if self.detokenizer.is_stopped:
            return self._finish(text, FinishReason.STOP)
        if len(self.output_ids) >= self.max_tokens:
            text += self.detokenizer.finish()
            return self._finish(text, FinishReason.STOP if self.detokenizer.is_stopped else FinishReason.LENGTH)
        self.sink(Delta(text, (token_id,), self.index, self._begun(), switch=self._first_switch()))
        return False

    def check_integrity(self) -> None:
        """Raise AssertionError if, between steps, its job counts other tokens than it has."""
        assert self.job.num_known == len(self.prompt_ids) + len(self.output_ids), self.id

    def _begun(self) -> tuple[TokenLogprob, ...]:
        """Return log-probabilities of the tokens whose text has begun to be sent: text that a stop string cuts off has
        none."""
        begun = []
        while self._unsent and self._unsent[0].start < self.detokenizer.num_sent:
            begun.append(self._unsent.popleft().logprob)
        return tuple(begun)

    def _finish(self, text: str, reason: FinishReason) -> bool:
        logprobs = self._begun() if self.detokenizer.is_stopped else tuple(unsent.logprob for unsent in self._unsent)
        if self.output_ids:
            self.sink(Delta(text, (self.output_ids[-1],), self.index, logprobs, switch=self._first_switch()))
        usage = Usage(len(self.prompt_ids), len(self.output_ids), self.num_cached)
        self.sink(Finished(reason, usage, self._switch(), self.index, self.detokenizer.stop_string))
        return True

    def _first_switch(self) -> Switch | None:
        """Return what the switch cost, with the first token alone."""
        return self._switch() if len(self.output_ids) == 1 else None

    def _switch(self) -> Switch:
        assert self.started_s is not None
        assert self.first_token_s is not None
        lease = self.lease
        # a lease outlives a request: bytes that it moved before this request came are not this request's cost
        if lease is None or lease.cost.ended_s is None or lease.cost.ended_s <= self.submitted_s:
            cost = LoadCost()
        else:
            cost = lease.cost
        return Switch(
            kind=cost.kind,
            loaded_bytes=cost.loaded_bytes,
            load_s=cost.load_s,
            wait_s=self.started_s - self.submitted_s,
            first_token_s=self.first_token_s - self.submitted_s,
            evicted_bytes=cost.evicted_bytes,
            evict_s=cost.evict_s,
        )
