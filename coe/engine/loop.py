"""The engine thread: it alone owns the scheduler, the weight cache, the models and the sequences.

Others send it frozen events through one inbox; it answers each request through the sequence's sink. One turn of
the loop: take events in, decide, do. A step stops where a unit is absent and is resumed when it has arrived, so
the thread never sleeps inside a step and warm experts run while a cold one loads.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import torch

from coe.engine.math_threads import MathThreads
from coe.engine.prefix_reuse import MIN_TOKENS, Prefix, PrefixCache, num_common
from coe.engine.sampling import sample
from coe.engine.sequence import Sequence
from coe.errors import CancelledError, CoeError, ExpertError, InvalidRequestError, ShutdownError, WeightsError
from coe.metrics import Gauges, Metrics
from coe.models.cuda.graphs import DecodeGraphs, DecodeStep, is_decode
from coe.models.model import Kv, Model, Row, Step
from coe.scheduling.job import Job
from coe.scheduling.scheduler import (
    CANCELLED,
    Abandon,
    Acquire,
    Drop,
    Effect,
    Expect,
    Fail,
    Limits,
    Release,
    Resume,
    Run,
    Scheduler,
)
from coe.types import SwitchKind, Tier, UnitStatus
from coe.weights.cache import WeightCache
from coe.weights.lease import Lease
from coe.weights.report import ExpertResidency
from coe.weights.transfer import Arrived
from coe.weights.unit import Manifest

__all__ = ["Call", "Cancel", "Engine", "Hint", "LoadedExpert", "Shutdown", "Submit"]

log = logging.getLogger("coe.engine")


@dataclass(frozen=True, slots=True)
class LoadedExpert:
    """What the engine needs to run an expert: its manifest and the model of its architecture."""

    name: str
    manifest: Manifest
    model: Model
    keep_alive_s: float | None = None


@dataclass(frozen=True, slots=True)
class Submit:
    sequence: Sequence


@dataclass(frozen=True, slots=True)
class Hint:
    """A prompt was routed to this expert: its weights may start moving while its text is encoded."""

    expert: str


@dataclass(frozen=True, slots=True)
class Cancel:
    sequence_id: str


@dataclass(frozen=True, slots=True)
class Call:
    """Run `work` on the engine thread and answer through `future`: the operator's wishes and questions."""

    work: Callable[[], Any]
    future: Future[Any]


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Fail what is left and end the thread."""


Event = Submit | Hint | Cancel | Call | Shutdown | Arrived


@dataclass(slots=True)
class _Running:
    """A step under way: begun, perhaps waiting for a unit."""

    step: Step | DecodeStep
    sequences: list[Sequence]


class Engine:
    """Runs sequences of many experts on one device. Construct, `start`, `post` events, `close`."""

    def __init__(
        self,
        experts: Mapping[str, LoadedExpert],
        make_cache: Callable[[Callable[[Arrived], None]], WeightCache],
        limits: Limits,
        metrics: Metrics,
        *,
        num_threads: int | None = None,
        prefix_reuse: bool = True,
        graphs: DecodeGraphs | None = None,
    ) -> None:
        self._experts = experts
        self._graphs = graphs
        self._kv_bytes = limits.kv_bytes
        self._prefixes = PrefixCache() if prefix_reuse else None
        self._threads = None if num_threads is None else MathThreads(num_threads)
        self._inbox: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._cache = make_cache(self._inbox.put)
        self._scheduler = Scheduler(_Residency(self._cache, experts, self._leases_of), limits)
        self._metrics = metrics
        self._sequences: dict[str, Sequence] = {}
        self._leases: dict[str, Lease] = {}
        self._held: dict[str, tuple[Lease, Future[None]]] = {}  # loads that an operator asked for
        self._steps: dict[str, _Running] = {}
        self._errors: dict[str, ExpertError] = {}
        self._last_expert: str | None = None
        self._is_closing = False
        self._is_over = False  # nobody reads the inbox any more
        self._thread = threading.Thread(target=self._run, name="coe-engine", daemon=True)
        for name, expert in experts.items():
            self._cache.register(name, expert.manifest, is_streamable=expert.model.runs_by_unit)

    # -- from any thread

    def start(self) -> None:
        self._thread.start()

    def post(self, event: Event) -> None:
        """Hand an event over; what comes too late is answered with ShutdownError."""
        self._inbox.put(event)
        if self._is_over:
            self._refuse_rest()

    def call(self, work: Callable[[], Any]) -> Future[Any]:
        """Have `work` run on the engine thread; the future has its result."""
        future = _promise()
        self.post(Call(work, future))
        return future

    def load(self, expert: str) -> Future[None]:
        """Bring an expert to the device; the future is done when all of it is there."""
        future = _promise()
        asked = self.call(lambda: self._begin_load(expert, future))
        asked.add_done_callback(lambda done: _pass_error(done, future))
        return future

    def close(self) -> None:
        """End the thread; whatever still runs fails with ShutdownError. Safe to call twice."""
        if self._thread.ident is None:  # never started
            self._end_all()
        elif self._thread.is_alive():
            self.post(Shutdown())
            self._thread.join()

    # -- on the engine thread

    def _run(self) -> None:
        try:
            while not self._is_closing:
                self._turn()
        except BaseException as error:  # thread edge: nobody may wait for a dead engine
            log.exception("the engine thread died")
            self._fail_all(ShutdownError(f"the engine failed: {error!r}; restart the server and report this"))
            raise
        finally:
            self._end_all()

    def _end_all(self) -> None:
        if self._graphs is not None:
            self._graphs.close()
        self._cache.close()
        self._is_over = True  # before the inbox is emptied: whoever posts after that empties it again
        self._refuse_rest()

    def _refuse_rest(self) -> None:
        """Answer what nobody will take in any more; any thread."""
        error = ShutdownError("the server is shutting down")
        for event in self._events(0.0):
            match event:
                case Submit(sequence):
                    sequence.sink(error)
                case Call(_, future):
                    future.set_exception(error)

    def _turn(self) -> None:
        plan = self._scheduler.decide(time.monotonic())
        for effect in plan.effects:
            self._do(effect)
        self._expire_idle()
        timeout_s = 0.0 if plan.effects else self._patience_s(plan.wake_s)
        for event in self._events(timeout_s):
            self._handle(event)

    def _events(self, timeout_s: float | None) -> list[Event]:
        """All events that are there; waits for the first one up to `timeout_s` (None: for ever)."""
        events: list[Event] = []
        try:
            events.append(self._inbox.get(block=timeout_s != 0.0, timeout=timeout_s or None))
            while True:
                events.append(self._inbox.get_nowait())
        except queue.Empty:
            return events

    def _handle(self, event: Event) -> None:
        match event:
            case Submit(sequence):
                self._submit(sequence)
            case Hint(expert):
                self._scheduler.hint(expert, time.monotonic())
            case Cancel(sequence_id):
                if self._scheduler.cancel(sequence_id):
                    self._end(sequence_id, CancelledError(CANCELLED))
            case Arrived():
                for failure in self._cache.on_arrived(event):
                    self._fail_expert(failure.expert, failure.error)
                self._metrics.loaded(event)
                self._settle_loads()
            case Call(work, future):
                _answer(future, work)
            case Shutdown():
                self._fail_all(ShutdownError("the server is shutting down"))
                self._is_closing = True

    def _submit(self, sequence: Sequence) -> None:
        if sequence.id in self._sequences:
            sequence.sink(InvalidRequestError(f"request id '{sequence.id}' is in use; give every request its own"))
            return
        expert = self._experts[sequence.expert]
        job = Job(
            id=sequence.id,
            expert=sequence.expert,
            num_prompt_tokens=len(sequence.prompt_ids),
            num_tokens_max=sequence.num_tokens_max,
            kv_bytes=expert.model.kv_bytes,
            arrived_s=sequence.submitted_s,
            leader=None if (leader := self._leader(sequence)) is None else leader.id,
        )
        try:
            self._scheduler.arrive(job)
        except CoeError as error:
            sequence.sink(error)
            return
        self._sequences[sequence.id] = sequence
        self._cache.count_request(sequence.expert)

    # -- effects

    def _do(self, effect: Effect) -> None:
        match effect:
            case Acquire(expert):
                self._acquire(expert)
            case Release(expert):
                self._leases.pop(expert).close()
            case Run(expert, num_tokens):
                self._step(expert, num_tokens)
            case Resume(expert):
                self._step(expert, None)
            case Abandon(expert):
                del self._steps[expert]
                self._leases[expert].rewind()
            case Expect(experts):
                self._cache.expect(experts)
            case Drop(job_id):
                self._drop_kv(job_id)
            case Fail(job_id, error):
                self._end(job_id, error)

    def _acquire(self, expert: str) -> None:
        tier = self._cache.report.residency(expert).tier
        self._cache.touch(expert, time.monotonic())
        self._leases[expert] = self._cache.lease(expert)
        if tier is not Tier.DEVICE:
            log.info("lease expert=%s tier=%s missing_bytes=%d", expert, tier, self._cache.report.missing_bytes(expert))

    def _step(self, expert: str, num_tokens: Mapping[str, int] | None) -> None:
        """Begin a step, or resume the one under way; what goes wrong in it ends this expert's requests alone."""
        try:
            if num_tokens is not None:
                self._begin_step(expert, num_tokens)
            self._go_on(expert)
        except Exception as error:  # the edge to models and kernels, which fail in ways of their own
            log.exception("step expert=%s", expert)
            self._fail_expert(expert, ExpertError(expert, f"its step failed ({error!r}); try again, and report this"))

    def _begin_step(self, expert: str, num_tokens: Mapping[str, int]) -> None:
        now_s = time.monotonic()
        loaded, lease = self._experts[expert], self._leases[expert]
        self._note_switch(expert, lease)
        sequences = [self._sequences[sequence_id] for sequence_id in num_tokens]
        for sequence in sequences:
            if sequence.kv is None:
                sequence.begin(self._new_kv(sequence, loaded.model), lease, now_s)
        self._trim_prefixes()
        rows = [_row(sequence, count) for sequence, count in zip(sequences, num_tokens.values(), strict=True)]
        self._steps[expert] = _Running(self._new_step(loaded, rows, lease), sequences)

    def _new_step(self, loaded: LoadedExpert, rows: list[Row], lease: Lease) -> Step | DecodeStep:
        num_units = len(loaded.manifest.units)
        if self._graphs is not None and lease.is_whole and is_decode(rows):
            return DecodeStep(self._graphs, loaded.model, rows, num_units)
        return Step(loaded.model, rows, num_units)

    def _new_kv(self, sequence: Sequence, model: Model) -> Kv:
        """KV for a sequence, with as many of its leading tokens as are to be had."""
        found = self._of_leader(sequence) or self._kept(sequence)
        if found is None:
            return model.new_kv(sequence.num_tokens_max)
        kv = model.copy_kv(found.kv, found.num_tokens, sequence.num_tokens_max)
        self._scheduler.reused(sequence.id, kv.length)
        return kv

    def _of_leader(self, sequence: Sequence) -> Prefix | None:
        """What it shares with the first choice of its request, while that one runs."""
        leader = self._leader(sequence)
        if leader is None or leader.kv is None:
            return None
        self._trim_prefixes()
        shared = num_common(leader.known_ids(0, leader.kv.length), sequence.known_ids(0, sequence.num_reusable))
        return Prefix(leader.kv, shared)

    def _kept(self, sequence: Sequence) -> Prefix | None:
        """What it shares with one that has ended, if that is still there when this step has the room that it booked."""
        if self._prefixes is None:
            return None
        found = self._prefixes.longest(sequence.expert, sequence.known_ids(0, sequence.num_reusable))
        self._trim_prefixes()  # lets go last of what was just found
        return found if found is not None and found in self._prefixes else None

    def _leader(self, sequence: Sequence) -> Sequence | None:
        """The first choice of its request, if the prompt that they share is worth copying."""
        leader = self._sequences.get(sequence.leader or "")
        if leader is None or leader.expert != sequence.expert:  # that one was refused: its id was another's
            return None
        is_shared = self._experts[sequence.expert].model.copies_kv and sequence.num_reusable >= MIN_TOKENS
        return leader if is_shared else None

    def _keep_prefix(self, sequence: Sequence, model: Model) -> None:
        """Leave an ended sequence's KV to the next turn of its conversation."""
        if self._prefixes is None or not model.copies_kv or sequence.kv is None or sequence.kv.length < MIN_TOKENS:
            return
        length = sequence.kv.length
        self._prefixes.put(sequence.expert, sequence.known_ids(0, length), sequence.kv, model.kv_bytes(length))

    def _trim_prefixes(self) -> None:
        """Kept prefixes have what no running sequence has booked."""
        if self._prefixes is not None:
            self._prefixes.trim(self._kv_bytes - self._scheduler.kv_used_bytes)

    def _drop_kv(self, sequence_id: str) -> None:
        sequence = self._sequences[sequence_id]
        log.info("drop kv request=%s expert=%s tokens=%d", sequence_id, sequence.expert, sequence.num_known)
        sequence.drop_kv()

    def _note_switch(self, expert: str, lease: Lease) -> None:
        if expert == self._last_expert:
            return
        kind = SwitchKind.DEVICE_HIT if lease.is_ready and not lease.cost.loaded_bytes else lease.cost.kind
        self._metrics.switched(kind)
        self._last_expert = expert

    def _go_on(self, expert: str) -> None:
        """Run the expert's step as far as its units are here; finish it if that is all of them."""
        self._set_threads()
        running, lease = self._steps[expert], self._leases[expert]
        bind = self._experts[expert].model.bind
        self._cache.touch(expert, time.monotonic())
        running.step.advance(lease.num_ready(), lambda index: lease.payload(index, bind))
        if running.step.is_done:
            del self._steps[expert]
            lease.rewind()
            self._errors.pop(expert, None)
            self._finish_step(expert, running)
        else:
            self._scheduler.stopped(expert, running.step.next_unit, time.monotonic())

    def _set_threads(self) -> None:
        """Give this thread's products the cores that nobody else uses."""
        if self._threads is not None and (wanted := self._threads.now(time.monotonic())) != torch.get_num_threads():
            torch.set_num_threads(wanted)
            log.debug("math threads=%d", wanted)

    def _finish_step(self, expert: str, running: _Running) -> None:
        logits = running.step.logits()
        now_s = time.monotonic()
        ended, sampling, last, num_prefilled = [], [], [], 0
        for sequence, own in zip(running.sequences, logits.split(running.step.num_logits), strict=True):
            if sequence.id not in self._sequences:
                continue  # failed while the step waited for weights
            sequence.score(own)
            if not sequence.is_prefilled:
                continue  # a chunk of the prompt: nothing to sample yet
            num_prefilled += 0 if sequence.output_ids else len(sequence.prompt_ids) - sequence.num_cached
            if sequence.max_tokens:
                sampling.append(sequence)
                last.append(own[-1:])
            else:
                sequence.end(now_s)
                ended.append(sequence.id)
        rows = logits if len(last) == len(logits) else torch.cat([logits[:0], *last])
        sampled = sample(rows, [sequence.waiting for sequence in sampling])
        ended += [s.id for s, token in zip(sampling, sampled, strict=True) if s.take(token, now_s)]
        self._metrics.stepped(num_prefilled, len(sampled))
        for sequence_id in ended:
            self._keep_prefix(self._sequences[sequence_id], self._experts[expert].model)
            self._forget(sequence_id)
        for sequence_id in self._scheduler.stepped(expert, ended, now_s):
            self._end(sequence_id, CancelledError(CANCELLED))
        self._trim_prefixes()

    # -- ends

    def _end(self, sequence_id: str, error: CoeError) -> None:
        sequence = self._sequences[sequence_id]
        self._forget(sequence_id)
        sequence.sink(error)

    def _forget(self, sequence_id: str) -> None:
        self._sequences.pop(sequence_id).drop_kv()  # whoever waits for its end still has the sequence

    def _fail_expert(self, expert: str, error: ExpertError) -> None:
        """This expert's requests end with the error; the others go on."""
        log.error("fail expert=%s error=%s", expert, error)
        self._errors[expert] = error
        self._steps.pop(expert, None)
        for sequence_id in self._scheduler.fail_expert(expert):
            if sequence_id in self._sequences:  # else it has ended: late, or in the step that failed
                self._end(sequence_id, error)
        if expert in self._leases:
            self._leases.pop(expert).close()
        if expert in self._held:
            lease, future = self._held.pop(expert)
            lease.close()
            future.set_exception(error)

    def _fail_all(self, error: CoeError) -> None:
        for sequence_id in list(self._sequences):
            self._end(sequence_id, error)
        for lease, future in self._held.values():
            lease.close()
            future.set_exception(error)
        self._held.clear()

    # -- the operator

    def _begin_load(self, expert: str, future: Future[None]) -> None:
        if expert in self._held:
            _chain(self._held[expert][1], future)
        elif not self._cache.can_lease(expert):
            future.set_exception(
                WeightsError(expert, "no room for it beside what is pinned or running; unload or unpin another")
            )
        else:
            self._cache.touch(expert, time.monotonic())
            self._held[expert] = (self._cache.lease(expert), future)
            self._settle_loads()

    def _settle_loads(self) -> None:
        for expert, (lease, future) in list(self._held.items()):
            if lease.is_ready:
                del self._held[expert]
                lease.close()
                self._errors.pop(expert, None)
                future.set_result(None)

    def unload(self, expert: str, *, keeps_host: bool = False) -> Future[Any]:
        """Free what nobody else needs of an expert; the future has the bytes freed."""
        return self.call(lambda: self._unload(expert, keeps_host))

    def switch_to(self, expert: str) -> Future[Any]:
        """Do what a switch to a resident expert takes and nothing else; the future has the seconds (benchmarks)."""
        return self.call(lambda: self._time_switch(expert))

    def pin(self, expert: str) -> Future[Any]:
        """Keep an expert where it is once loaded; the future fails with WeightsError if pins could not fit."""
        return self.call(lambda: self._cache.pin(expert))

    def unpin(self, expert: str) -> Future[Any]:
        return self.call(lambda: self._cache.unpin(expert))

    def _unload(self, expert: str, keeps_host: bool) -> int:
        for release in self._scheduler.release_idle():  # who unloads right after an answer means that lease too
            self._do(release)
        return self._cache.unload(expert, keeps_host=keeps_host)

    def _time_switch(self, expert: str) -> float:
        started_s = time.perf_counter()
        bind = self._experts[expert].model.bind
        with self._cache.lease(expert) as lease:
            assert lease.is_ready, f"{expert} is not resident"
            for index in range(len(lease.units)):
                lease.payload(index, bind)
            return time.perf_counter() - started_s

    # -- questions, from any thread: counters and set lookups of tables that only the engine thread changes, so an
    #    answer may be one event old, and is never torn

    def residency(self, expert: str) -> ExpertResidency:
        return self._cache.report.residency(expert)

    def unit_statuses(self, expert: str) -> tuple[UnitStatus, ...]:
        """Where each unit of the expert is."""
        return self._cache.report.unit_statuses(expert)

    def missing_bytes(self, expert: str) -> int:
        """Bytes that a lease of the expert would have to move."""
        return self._cache.report.missing_bytes(expert)

    def num_requests(self, expert: str) -> int:
        return self._scheduler.num_requests(expert)

    def error(self, expert: str) -> str | None:
        error = self._errors.get(expert)
        return None if error is None else str(error)

    def idle_s(self, expert: str) -> float | None:
        """Seconds since the expert was last used, None if never."""
        last_s = self._cache.report.last_used_s(expert)
        return None if last_s is None else time.monotonic() - last_s

    def gauges(self) -> Gauges:
        return Gauges(
            queued=self._scheduler.queue_lengths(),
            used_bytes=self._cache.report.used_bytes(),
            budget_bytes=self._cache.report.budget_bytes(),
        )

    # -- proof

    def check_integrity(self) -> None:
        """Engine thread: raise AssertionError if scheduler, cache and sequences disagree."""
        self._scheduler.check_integrity()
        self._cache.check_integrity()
        if self._prefixes is not None:
            self._prefixes.check_integrity()
            assert self._prefixes.used_bytes + self._scheduler.kv_used_bytes <= self._kv_bytes
        for sequence in self._sequences.values():
            if sequence.kv is not None:
                used_bytes = self._experts[sequence.expert].model.kv_bytes(sequence.kv.length)
                assert used_bytes <= self._scheduler.kv_booked_bytes(sequence.id), sequence.id
        if self._graphs is not None:
            self._graphs.check_integrity()
        assert self._scheduler.num_waited_for == len(self._sequences)
        assert self._steps.keys() <= self._leases.keys()

    # -- idle experts

    def _expire_idle(self) -> None:
        now_s = time.monotonic()
        self._cache.give_back()
        for name, expert in self._experts.items():
            last_s = self._cache.report.last_used_s(name)
            if expert.keep_alive_s is None or last_s is None or now_s - last_s < expert.keep_alive_s:
                continue
            if not self._scheduler.num_requests(name) and (freed := self._cache.unload(name)):
                log.info("unload expert=%s idle_s=%.0f bytes=%d", name, now_s - last_s, freed)

    def _patience_s(self, wake_s: float | None) -> float | None:
        """How long the inbox may stay empty before something is due."""
        now_s = time.monotonic()
        due = [due_s for due_s in (wake_s, self._cache.give_back_due_s) if due_s is not None]
        for name, expert in self._experts.items():
            last_s = self._cache.report.last_used_s(name)
            if expert.keep_alive_s is not None and last_s is not None and last_s + expert.keep_alive_s > now_s:
                due.append(last_s + expert.keep_alive_s)
        return max(0.001, min(due) - now_s) if due else None

    def _leases_of(self) -> Mapping[str, Lease]:
        return self._leases


def _row(sequence: Sequence, num_tokens: int) -> Row:
    """A sequence's part of a step; its KV gets the room that is booked for it."""
    assert sequence.kv is not None
    sequence.kv.reserve(sequence.num_known)
    token_ids = sequence.next_ids(num_tokens)
    return Row(token_ids, sequence.kv, sequence.num_logits(len(token_ids)))


class _Residency:
    """The weight cache as the scheduler sees it."""

    def __init__(
        self, cache: WeightCache, experts: Mapping[str, LoadedExpert], leases: Callable[[], Mapping[str, Lease]]
    ) -> None:
        self._cache, self._experts, self._leases = cache, experts, leases

    def is_resident(self, expert: str) -> bool:
        lease = self._leases().get(expert)
        return lease.is_ready if lease is not None else not self._cache.report.missing_bytes(expert)

    def can_lease(self, expert: str, giving_up: Collection[str] = ()) -> bool:
        return self._cache.can_lease(expert, giving_up)

    def num_ready(self, expert: str) -> int:
        lease = self._leases().get(expert)
        return lease.num_ready() if lease is not None else self._cache.report.num_leading(expert)

    def load_s(self, expert: str) -> float:
        return self._cache.report.load_s(expert)


def _answer(future: Future[Any], work: Callable[[], Any]) -> None:
    try:
        result = work()
    except Exception as error:  # thread edge: the caller gets it
        future.set_exception(error)
    else:
        future.set_result(result)


def _promise() -> Future[Any]:
    """A future that only the engine ends: a caller who stops waiting must not make its answer an error."""
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    return future


def _pass_error(done: Future[Any], target: Future[None]) -> None:
    error = done.exception()
    if error is not None and not target.done():
        target.set_exception(error)


def _chain(source: Future[None], target: Future[None]) -> None:
    def pass_on(done: Future[None]) -> None:
        _pass_error(done, target)
        if done.exception() is None:
            target.set_result(None)

    source.add_done_callback(pass_on)
