"""Steps under way: begun with what the scheduler chose, run as far as units are here, finished with sampled tokens.

A step stops where a unit is absent and goes on when it has arrived, so the engine thread never sleeps inside a step and
experts that are here run while another one loads. Owned by the engine thread.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch

from coe.engine.live_sequences import LiveSequence, LiveSequences
from coe.engine.loaded_expert import LoadedExpert
from coe.engine.math_threads import MathThreads
from coe.engine.pooled_sequence import PooledSequence
from coe.engine.prefix_reuse import PrefixReuse
from coe.engine.sampling import sample
from coe.errors import CancelledError, CoeError, ExpertError
from coe.models.model import Row, Step
from coe.scheduling.effects import CANCELLED
from coe.scheduling.scheduler import Scheduler
from coe.telemetry.metrics import Metrics
from coe.weights.lease import Lease

__all__ = ["StepEnd", "StepRunner"]

log = logging.getLogger("coe.engine.step")

DAMAGED = 'it produced NaN or infinite logits; its weights may be damaged: fetch them again, or write dtype = "float32"'


@dataclass(slots=True)
class _Running:
    """A step under way, perhaps waiting for a unit."""

    step: Step
    sequences: list[LiveSequence]


class StepEnd(NamedTuple):
    """How a step has ended: with the error of its expert where logits were no numbers; their sequences have failed."""

    error: ExpertError | None


class StepRunner:
    """Runs one step per expert at a time. `threads` None leaves torch's thread count alone."""

    def __init__(
        self,
        experts: Mapping[str, LoadedExpert],
        scheduler: Scheduler,
        sequences: LiveSequences,
        prefixes: PrefixReuse,
        metrics: Metrics,
        threads: MathThreads | None,
    ) -> None:
        self._experts, self._scheduler, self._sequences = experts, scheduler, sequences
        self._prefixes, self._metrics, self._threads = prefixes, metrics, threads
        self._steps: dict[str, _Running] = {}

    def __contains__(self, expert: str) -> bool:
        """Whether a step of the expert is under way."""
        return expert in self._steps

    @property
    def experts(self) -> set[str]:
        """Experts with a step under way."""
        return set(self._steps)

    def begin(self, expert: str, num_tokens: Mapping[str, int], lease: Lease) -> None:
        """Begin a step: `num_tokens` are the new tokens of each sequence in it."""
        now_s = time.monotonic()
        loaded = self._experts[expert]
        sequences = [self._sequences[sequence_id] for sequence_id in num_tokens]
        for sequence in sequences:
            if sequence.kv is None:
                self._begin_sequence(sequence, loaded, lease, now_s)
        self._prefixes.trim()
        rows = [_row(sequence, count) for sequence, count in zip(sequences, num_tokens.values(), strict=True)]
        step = Step(loaded.model, rows, len(loaded.manifest.units), is_whole=lease.is_whole)
        self._steps[expert] = _Running(step, sequences)

    def go_on(self, expert: str, lease: Lease) -> StepEnd | None:
        """Run the expert's step as far as its units are here; returns how it ended, None where it has to wait."""
        self._set_threads()
        running, bind = self._steps[expert], self._experts[expert].model.bind
        running.step.advance(lease.num_ready(), lambda index: lease.payload(index, bind))
        if not running.step.is_done:
            self._scheduler.stopped(expert, running.step.next_unit, time.monotonic())
            return None
        del self._steps[expert]
        lease.rewind()
        return self._finish(expert, running)

    def drop(self, expert: str) -> None:
        """Forget the expert's step, if there is one."""
        self._steps.pop(expert, None)

    def _begin_sequence(self, sequence: LiveSequence, loaded: LoadedExpert, lease: Lease, now_s: float) -> None:
        if isinstance(sequence, PooledSequence):
            sequence.begin(loaded.model.new_kv(len(sequence.prompt_ids)), lease, now_s)
            return
        kv = self._prefixes.new_kv(sequence, loaded.model)
        if kv.length:
            self._scheduler.reused(sequence.id, kv.length)
        sequence.begin(kv, lease, now_s)

    def _set_threads(self) -> None:
        """Give this thread's products the cores that other processes leave idle."""
        if self._threads is not None and (wanted := self._threads.now(time.monotonic())) != torch.get_num_threads():
            torch.set_num_threads(wanted)
            log.debug("math threads=%d", wanted)

    def _finish(self, expert: str, running: _Running) -> StepEnd:
        """Score and sample what the step computed, and tell the scheduler which sequences ended with it."""
        logits = running.step.logits()
        now_s = time.monotonic()
        ended: list[str] = []
        failed: dict[str, CoeError] = {}
        sampling, last, num_prefilled, num_cached = [], [], 0, 0
        for sequence, own in zip(running.sequences, logits.split(running.step.num_logits), strict=True):
            if sequence.id not in self._sequences:
                continue  # failed while the step waited for weights
            if isinstance(sequence, PooledSequence):
                num_prefilled += len(sequence.prompt_ids)
                if sequence.take(own):
                    ended.append(sequence.id)
                else:
                    failed[sequence.id] = ExpertError(expert, DAMAGED)
                continue
            if not sequence.score(own):
                failed[sequence.id] = ExpertError(expert, DAMAGED)
                continue
            if not sequence.is_prefilled:
                continue  # a chunk of the prompt: nothing to sample yet
            if not sequence.output_ids:
                num_prefilled += len(sequence.prompt_ids) - sequence.num_cached
                num_cached += sequence.num_cached
            if (failure := sequence.grammar_failure()) is not None:
                failed[sequence.id] = failure
            elif sequence.max_tokens:
                sampling.append(sequence)
                last.append(own[-1:])
            else:
                sequence.end(now_s)
                ended.append(sequence.id)
        rows = logits if len(last) == len(logits) else torch.cat([logits[:0], *last])
        sampled = sample(rows, [sequence.waiting for sequence in sampling])
        gaps_s = [now_s - sequence.last_token_s for sequence in sampling if sequence.last_token_s is not None]
        for sequence, token in zip(sampling, sampled, strict=True):
            if token is None:
                failed[sequence.id] = ExpertError(expert, DAMAGED)
            elif sequence.take(token, now_s):
                ended.append(sequence.id)
        self._metrics.stepped(num_prefilled, len(sampled), num_cached, gaps_s)
        self._end(expert, ended, failed, now_s)
        return StepEnd(next((error for error in failed.values() if isinstance(error, ExpertError)), None))

    def _end(self, expert: str, ended: list[str], failed: Mapping[str, CoeError], now_s: float) -> None:
        """`failed` are sequences whose logits were no numbers, or whose grammar cannot go on; their KV is left to
        nobody."""
        model = self._experts[expert].model
        for sequence_id in ended:
            if not isinstance(sequence := self._sequences[sequence_id], PooledSequence):
                self._prefixes.keep(sequence, model)
            self._sequences.forget(sequence_id)
        for sequence_id, error in failed.items():
            self._sequences.fail(sequence_id, error)
        for sequence_id in self._scheduler.stepped(expert, [*ended, *failed], now_s):
            self._sequences.fail(sequence_id, CancelledError(CANCELLED))
        self._prefixes.trim()


def _row(sequence: LiveSequence, num_tokens: int) -> Row:
    """Return a sequence's part of a step; its KV gets the room that is reserved for it."""
    assert sequence.kv is not None
    sequence.kv.reserve(sequence.job.num_known)
    token_ids, is_prompt = sequence.next_ids(num_tokens), sequence.kv.length < len(sequence.prompt_ids)
    second_from = sequence.second_from if isinstance(sequence, PooledSequence) else None
    return Row(token_ids, sequence.kv, sequence.num_logits(len(token_ids)), is_prompt, second_from)
