"""The engine thread: it alone owns the scheduler, the weight cache, the models and the sequences.

Other threads send it frozen events through one inbox; it answers each request through the sequence's sink. One turn of
the loop: decide, do, take events in. What fails in an expert's step or load ends that expert's requests; whatever else
fails may have left the books wrong, so it ends the engine, and with it everybody, at once and with the reason.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from coe.engine.events import Call, Cancel, Event, Fault, Hint, Inbox, Shutdown, Submit, answer, new_future
from coe.engine.idle_experts import IdleExperts
from coe.engine.live_sequences import LiveSequence, LiveSequences
from coe.engine.loaded_expert import LoadedExpert
from coe.engine.math_threads import MathThreads
from coe.engine.operator import OperatorCommands
from coe.engine.prefix_reuse import PrefixReuse
from coe.engine.sequence import Sequence
from coe.engine.status import EngineStatus
from coe.engine.step_runner import StepRunner
from coe.engine.weights_view import CacheView
from coe.errors import CancelledError, CoeError, EngineError, ExpertError, ShutdownError, reason_of
from coe.scheduling.breakers import Breakers
from coe.scheduling.effects import CANCELLED, Abandon, Acquire, Effect, Expect, Fail, Preempt, Release, Resume, Run
from coe.scheduling.limits import Limits
from coe.scheduling.policy import SchedulingPolicy
from coe.scheduling.scheduler import Scheduler
from coe.telemetry.events import BreakerChanged, Preempted, Switched
from coe.telemetry.hub import Publish, unheard
from coe.telemetry.metrics import Metrics
from coe.types import Admitted, Tier
from coe.weights.cache import WeightCache
from coe.weights.lease import Lease
from coe.weights.transfer import Arrived

__all__ = ["Engine"]

log = logging.getLogger("coe.engine")

SHUTTING_DOWN = "the server is shutting down"


class Engine:
    """Runs sequences of many experts on one device. Construct, `start`, `post` events, `close`.

    `status` answers questions and `operator` takes commands, both from any thread. `ended` is done when the engine runs
    nothing any more, with EngineError where a fault has ended it.
    """

    def __init__(
        self,
        experts: Mapping[str, LoadedExpert],
        make_cache: Callable[[Callable[[Arrived], None]], WeightCache],
        limits: Limits,
        policy: SchedulingPolicy,
        metrics: Metrics,
        *,
        num_threads: int | None = None,
        prefix_reuse: bool = True,
        publish: Publish = unheard,
    ) -> None:
        self._experts, self._metrics, self._publish = experts, metrics, publish
        self._inbox = Inbox()
        self._cache = make_cache(self._inbox.put)
        self._leases: dict[str, Lease] = {}
        self._breakers = Breakers(experts)
        self._scheduler = Scheduler(CacheView(self._cache, self._leases), limits, policy)
        self._sequences = LiveSequences()
        self._prefixes = PrefixReuse(
            self._sequences, lambda: self._scheduler.kv_used_bytes, limits.kv_bytes, keeps=prefix_reuse
        )
        threads = None if num_threads is None else MathThreads(num_threads)
        self._steps = StepRunner(experts, self._scheduler, self._sequences, self._prefixes, metrics, threads)
        self.operator = OperatorCommands(
            experts, self._cache, self.call, self._release_idle, self._end_pinned_out, self._note_success
        )
        self._idle = IdleExperts(experts, self._cache.report.last_used_s)
        self.status = EngineStatus(self._cache, self._scheduler, self._breakers, limits.kv_bytes)
        self._last_expert: str | None = None
        self._is_closing = False
        self._end: CoeError | None = None  # once the inbox has no reader any more: what later events are answered with
        self.ended: Future[None] = new_future()
        self._thread = threading.Thread(target=self._run, name="coe-engine", daemon=True)
        for name, expert in experts.items():
            self._cache.register(name, expert.manifest, is_streamable=expert.model.runs_by_unit)

    # -- from any thread

    def start(self) -> None:
        self._thread.start()

    def post(self, event: Event) -> None:
        """Hand an event over; what comes too late is answered with ShutdownError, or with what ended the engine."""
        self._inbox.put(event)
        if self._end is not None:
            self._refuse_rest(self._end)

    def call(self, work: Callable[[], Any]) -> Future[Any]:
        """Run `work` on the engine thread; the future has its result."""
        future = new_future()
        self.post(Call(work, future))
        return future

    def close(self, timeout_s: float | None = None) -> None:
        """End the thread; whatever still runs fails with ShutdownError. Safe to call twice.

        A step that does not end within `timeout_s` is left behind, and `is_alive` says so.
        """
        if self._thread.ident is None:  # never started
            if self._end is None:
                self._end_all(ShutdownError(SHUTTING_DOWN))
        elif self._thread.is_alive():
            self.post(Shutdown())
            self._thread.join(timeout_s)

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    # -- the loop

    def _run(self) -> None:
        end: CoeError = ShutdownError(SHUTTING_DOWN)
        try:
            while not self._is_closing:
                self._turn()
        except BaseException as error:  # thread edge: no request may wait for a dead engine
            end = EngineError(f"the engine failed ({reason_of(error)}); ask again when the server has been restarted")
            log.critical("the engine thread died", exc_info=error)
        finally:
            self._end_all(end)

    def _turn(self) -> None:
        schedule = self._scheduler.decide(time.monotonic())
        for effect in schedule.effects:
            self._do(effect)
        self._unload_idle()
        timeout_s = 0.0 if schedule.effects else self._patience_s(schedule.wake_s)
        for event in self._inbox.take(timeout_s):
            self._handle(event)

    def _handle(self, event: Event) -> None:
        match event:
            case Submit(sequences, keep_alive_s):
                self._submit(sequences, keep_alive_s)
            case Hint(expert):
                self._scheduler.hint(expert, time.monotonic())
            case Cancel(sequence_id):
                if self._scheduler.cancel(sequence_id):
                    self._sequences.fail(sequence_id, CancelledError(CANCELLED))
            case Fault(expert, error):
                self._note_fault(expert, error)
            case Arrived():
                for failure in self._cache.on_arrived(event):
                    self._fail_expert(failure.expert, failure.error)
                self._metrics.loaded(event)
                self.operator.settle()
            case Call(work, future):
                answer(future, work)
            case Shutdown():
                self._is_closing = True

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
                self._steps.drop(expert)
                self._leases[expert].rewind()
            case Expect(experts):
                self._cache.expect(experts)
            case Preempt(job_id):
                self._preempt(self._sequences[job_id])
            case Fail(job_id, error):
                self._sequences.fail(job_id, error)

    # -- events and effects

    def _submit(self, sequences: tuple[LiveSequence, ...], keep_alive_s: float | None) -> None:
        """Admit the choices of one request, all or none, and say so before anything else of them."""
        first = sequences[0]
        model, now_s = self._experts[first.expert].model, time.monotonic()
        try:
            self._sequences.check_new(sequences)
            if (outage := self._breakers.outage(first.expert, now_s)) is not None:
                raise outage
            self._scheduler.admit([sequence.new_job(model.kv_bytes) for sequence in sequences], now_s)
        except CoeError as error:
            first.sink(error)
            return
        for sequence in sequences:
            self._sequences.add(sequence)
            if isinstance(sequence, Sequence) and (donor := self._prefixes.donor(sequence, model)) is not None:
                sequence.job.prompt_donor = donor.id
        self._breakers.admitted(first.expert, now_s)
        self._cache.count_request(first.expert)
        if keep_alive_s is not None:
            self._idle.keep(first.expert, keep_alive_s)
        first.sink(Admitted())

    def _acquire(self, expert: str) -> None:
        tier = self._cache.report.residency(expert).tier
        self._cache.touch(expert, time.monotonic())
        self._leases[expert] = self._cache.lease(expert)
        if tier is not Tier.DEVICE:
            log.info("lease expert=%s tier=%s missing_bytes=%d", expert, tier, self._cache.report.missing_bytes(expert))

    def _step(self, expert: str, num_tokens: Mapping[str, int] | None) -> None:
        """Begin a step, or resume the one under way; what goes wrong in it ends this expert's requests alone."""
        lease = self._leases[expert]
        try:
            if num_tokens is not None:
                self._note_switch(expert, lease)
                self._steps.begin(expert, num_tokens, lease)
            self._cache.touch(expert, time.monotonic())
            end = self._steps.go_on(expert, lease)
            if end is not None and end.error is not None:
                self._note_fault(expert, end.error)
            elif end is not None:
                self._note_success(expert)
        except BaseException as error:  # the edge to models and kernels, which fail in ways of their own
            log.exception("step expert=%s", expert)
            message = f"its step failed ({reason_of(error)}); try again, and report this"
            self._fail_expert(expert, ExpertError(expert, message))
            self._cache.check_device()
            with suppress(AssertionError):
                self.check_integrity()
                return
            raise  # the fault was in the books and has left them wrong: it ends the engine

    def _note_switch(self, expert: str, lease: Lease) -> None:
        if expert == self._last_expert:
            return
        kind = self._cache.report.switch_kind(lease)
        lease.has_run = True
        self._metrics.switched(expert, kind)
        cost = lease.cost
        self._publish(Switched(expert, self._last_expert, kind, cost.loaded_bytes, cost.load_s))
        self._last_expert = expert

    def _preempt(self, sequence: LiveSequence) -> None:
        log.info("preempt request=%s expert=%s tokens=%d", sequence.id, sequence.expert, sequence.job.num_known)
        self._metrics.preempted(sequence.expert)
        self._publish(Preempted(sequence.job.request.partition("~")[0], sequence.expert, sequence.job.num_known))
        sequence.free_kv()

    # -- ends

    def _fail_expert(self, expert: str, error: ExpertError) -> None:
        """This expert's requests end with the error; the others go on."""
        self._note_fault(expert, error)
        self._steps.drop(expert)
        self._scheduler.fail_expert(expert)
        self._sequences.fail_expert(expert, error)
        if expert in self._leases:
            self._leases.pop(expert).close()
        self.operator.fail(expert, error)

    def _note_fault(self, expert: str, error: ExpertError) -> None:
        breaker = self._breakers.failed(expert, error, time.monotonic())
        log.error("fail expert=%s faults=%d error=%s", expert, breaker.num_faults, error)
        if breaker.is_open:
            log.error("breaker open expert=%s for_s=%g", expert, breaker.open_s)
        state = breaker.state(time.monotonic())
        self._publish(BreakerChanged(expert, state, breaker.num_faults, breaker.open_s, str(error)))

    def _note_success(self, expert: str) -> None:
        if self._breakers.succeeded(expert):
            log.info("breaker closed expert=%s", expert)
            self._publish(BreakerChanged(expert, "closed", 0, 0.0, None))

    def _end_all(self, error: CoeError) -> None:
        """Say that the engine has ended, answer everybody, and only then close what may hang or fail."""
        self._end = error  # before the inbox is emptied: whoever posts after that empties it again
        if isinstance(error, EngineError):
            self.ended.set_exception(error)
        else:
            self.ended.set_result(None)
        self._inbox.put_back()
        self.operator.fail_all(error)
        self._refuse_rest(error)
        self._sequences.fail_all(error)
        for model in {id(expert.model): expert.model for expert in self._experts.values()}.values():
            model.close()
        self._cache.close()

    def _refuse_rest(self, error: CoeError) -> None:
        """Answer the events that no turn will handle any more; any thread."""
        for event in self._inbox.drain():
            match event:
                case Submit(sequences) if (
                    self._sequences.get(sequences[0].id) is not sequences[0]
                ):  # else answered there
                    sequences[0].sink(error)
                case Call(_, future):
                    future.set_exception(error)

    # -- idle experts

    def _release_idle(self) -> None:
        for release in self._scheduler.release_idle():
            self._do(release)

    def _end_pinned_out(self) -> None:
        """A pin may leave no room for experts that have requests: those end now and not at their deadline."""
        for fail in self._scheduler.pinned():
            self._do(fail)

    def _unload_idle(self) -> None:
        self._cache.give_back()
        for name in self._idle.expired(time.monotonic()):
            if not self._scheduler.num_requests(name) and (freed := self._cache.unload(name)):
                log.info("unload expert=%s idle bytes=%d", name, freed)

    def _patience_s(self, wake_s: float | None) -> float | None:
        """Return how long the inbox may stay empty before something is due."""
        now_s = time.monotonic()
        due = (wake_s, self._cache.give_back_due_s, self._idle.next_due_s(now_s))
        known = [due_s for due_s in due if due_s is not None]
        return max(0.001, min(known) - now_s) if known else None

    # -- proof

    def check_integrity(self) -> None:
        """Engine thread: raise AssertionError if scheduler, cache and sequences disagree."""
        self._scheduler.check_integrity()
        self._cache.check_integrity()
        self._prefixes.check_integrity()
        for sequence in self._sequences:
            sequence.check_integrity()
            if sequence.kv is not None:
                used_bytes = self._experts[sequence.expert].model.kv_bytes(sequence.kv.length)
                assert used_bytes <= self._scheduler.kv_reserved_bytes(sequence.id), sequence.id
        for expert in self._experts.values():
            expert.model.check_integrity()
        assert self._scheduler.num_unexpired_jobs == len(self._sequences)
        assert self._steps.experts <= self._leases.keys()
