"""The table of contents: how a prompt becomes tokens, one line per hop.

The asynchronous face of everything below it, used by the server, the benchmarks and the tests on one event loop.
Knows nothing about HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from typing import NamedTuple

from coe.answers.cache import AnswerCache
from coe.attempt import attempt
from coe.embedding.embedder import LateEmbedder
from coe.embedding.embeddings import Embeddings
from coe.engine.events import Fault, Hint
from coe.engine.loop import Engine
from coe.errors import CoeError, EngineError, ExpertError, InvalidRequestError, RequestError, ShutdownError, reason_of
from coe.experts import Experts, PooledExpert, ServedExpert
from coe.fallback import Patience, pass_over, patience_for, reason_to_pass_over, with_fallbacks
from coe.grammar.compiler import Grammars
from coe.lifecycle import Lifecycle
from coe.operator import Operator
from coe.preparation import (
    PreparedPrompt,
    attempt_id,
    can_call,
    check_deadline,
    check_length,
    encode,
    grammar_of,
    likelihood_of,
    query_of,
    settle,
)
from coe.routing import RoutingBatcher, TextWorker
from coe.telemetry.feed import feed_of
from coe.telemetry.request_watch import RequestWatch
from coe.telemetry.telemetry import Telemetry
from coe.text.output.reading import read_answers
from coe.text.templates import ChatTokens
from coe.types import (
    Decision,
    GenerateEvent,
    GenerateRequest,
    Grammar,
    Likelihood,
    PromptScored,
    Routed,
    RouteQuery,
    Router,
    Sampling,
    Snapshot,
)
from coe.weights.store.unit_store import UnitStore

__all__ = ["Runtime"]

log = logging.getLogger("coe.runtime")


class _Begun(NamedTuple):
    """A generation whose expert is settled: its first event, and those after it."""

    routed: Routed
    events: AsyncGenerator[GenerateEvent, None]


class Runtime:
    """Routes, loads, generates. `start` it, ask it, `close` it, all on one event loop; `operator` takes commands."""

    def __init__(
        self,
        experts: Experts,
        router: Router,
        engine: Engine,
        telemetry: Telemetry,
        store: UnitStore,
        answers: AnswerCache,
        *,
        weighs_loads: bool = False,
        encoder: LateEmbedder | None = None,
    ) -> None:
        self.answers = answers
        self.experts = experts
        self.engine = engine
        self.telemetry, self.metrics = telemetry, telemetry.metrics
        self._life = Lifecycle(lambda _: self.feed.close())
        self.operator = Operator(experts, engine, store, self._life, telemetry.hub.publish)
        self.text = TextWorker()
        self._grammars = Grammars()
        self._routing = RoutingBatcher(self.text, router, self.metrics, self._snapshot)
        self._weighs_loads = weighs_loads
        self._store = store
        self.feed = feed_of(telemetry, engine.status, self.operator.experts, lambda: self._life.state)
        self.embeddings = Embeddings(experts, encoder, engine, self.text, self._life, telemetry.requests)
        self.metrics.read_gauges_with(engine.status.gauges)
        self.metrics.read_answers_with(answers.status)

    # -- the path of a prompt

    async def generate(
        self, request: GenerateRequest, *, commit_s: float | None = None
    ) -> AsyncGenerator[GenerateEvent, None]:
        """Yield Routed, then Deltas and Finished of each choice; raises CoeError. Closing the generator cancels all.

        Before Routed an expert that cannot answer is passed over (coe/fallback.py says for which). Routed comes with
        the first token, or `commit_s` after an expert has taken the request: from then on no other one answers.
        """
        with self._life.accepted(), self.telemetry.requests.watched(request) as count:
            async with AsyncExitStack() as stack:  # a caller that goes away leaves no attempt behind
                routed, events = await self._life.run(self._first_able(request, count, commit_s, stack))
                count.took(routed)
                yield routed
                async for event in events:
                    count.took(event)
                    yield event

    async def likelihoods(self, request: GenerateRequest, continuations: Iterable[str]) -> list[Likelihood]:
        """Return how likely each text is as the answer to a request's prompt; the request's sampling is ignored.

        Raises CoeError as `generate` does, and InvalidRequestError for an empty continuation; passes no expert over.
        """
        with self._life.accepted(), self.telemetry.requests.watched(request) as count:
            scored = await self._life.run(self._prepare_scored(request, continuations, count))
            found: dict[int, Likelihood] = {}
            if not scored:
                count.outcome = "ok"
                return []
            async with aclosing(attempt(self.engine, self._life, scored, count, Patience())) as events:
                async for event in events:
                    count.took(event)
                    if isinstance(event, PromptScored):
                        found[event.index] = likelihood_of(event)
            return [found[index] for index in range(len(scored))]

    async def route(self, query: RouteQuery) -> Decision:
        """Return who would answer now and why; raises UnknownExpertError, or the error of one that nobody replaces."""
        with self._life.accepted():
            decision = await self._life.run(self._decide(query))
        while (outage := self._outage(decision.expert)) is not None:
            if (other := self._instead(decision, outage)) is None:
                raise outage
            decision = other
        return decision

    async def _decide(self, query: RouteQuery) -> Decision:
        self.experts.check_answers(query)
        decision = await self._routing.route(query)  # raises for a name in `exclude` that nobody has
        excluded = [self.experts.name_of(name) for name in query.exclude]
        return with_fallbacks(decision, self.experts.fallbacks, excluded)

    async def _prepare_scored(
        self, request: GenerateRequest, continuations: Iterable[str], count: RequestWatch
    ) -> list[PreparedPrompt]:
        submitted_s = time.monotonic()
        check_length(request, self.experts)
        request = replace(request, sampling=Sampling(), scores_prompt=False, grammar=None)
        decision = await self._decide(query_of(request))
        count.decided(decision)
        prompt = await self._prepare(request, decision, submitted_s)
        encode_next = prompt.expert.text.encode_continuation
        return [prompt.followed_by(await self.text.run(encode_next, text)) for text in continuations]

    async def _first_able(
        self, request: GenerateRequest, count: RequestWatch, commit_s: float | None, stack: AsyncExitStack
    ) -> _Begun:
        """Ask the decision's expert and then its alternatives, until one begins to answer; `stack` closes them all."""
        cause: CoeError | None = None  # what was wrong with the first one
        submitted_s = time.monotonic()
        check_length(request, self.experts)
        check_deadline(request.deadline_s, self.engine.status.deadline_s)
        decision = await self._decide(query_of(request))
        if not request.passes_over:
            decision = replace(decision, alternatives=())
        while True:
            count.decided(decision)
            try:
                events = await self._begin(request, decision, submitted_s, count, commit_s)
                await stack.enter_async_context(aclosing(events))
                routed = await anext(events)
            except CoeError as error:
                cause = cause or error
                if (other := self._instead(decision, error)) is None:
                    raise cause if isinstance(error, RequestError) else error from None
                self._note_passed_over(request.id, other, error)
                decision = other
            else:
                assert isinstance(routed, Routed)
                return _Begun(routed, events)

    async def _begin(
        self,
        request: GenerateRequest,
        decision: Decision,
        submitted_s: float,
        count: RequestWatch,
        commit_s: float | None,
    ) -> AsyncGenerator[GenerateEvent, None]:
        """Return the events of a kept answer, else those of the decision's expert, whose answer may then be kept.

        What they say is read on the way out: thoughts and calls of tools apart from the text.
        """
        question = self.answers.question(request, decision, self._able(decision.expert))
        found = question and self.answers.find(question, request.max_age_s)
        prompt = await self._prepare(request, decision, submitted_s, hints=found is None)
        if question and (hit := self.answers.confirmed(found, prompt.token_ids)):
            kept = self.answers.answered(hit, prompt, count)
            return read_answers(request, prompt.expert.text, prompt.is_thinking, kept)
        left_s = submitted_s + (request.deadline_s or self.engine.status.deadline_s) - time.monotonic()
        patience = patience_for(decision, left_s, commit_s)
        choices = [prompt] * request.num_choices
        events = attempt(self.engine, self._life, choices, count, patience)
        events = self.answers.keeping(question, prompt, request.num_choices, events) if question else events
        return read_answers(request, prompt.expert.text, prompt.is_thinking, events)

    def _instead(self, decision: Decision, error: CoeError) -> Decision | None:
        """Return the decision for the next expert; None where another would not help, or there is none."""
        reason = reason_to_pass_over(error, stands_in=bool(decision.passed_over))
        reason = "refused" if decision.expert in self.experts.errors else reason
        return None if reason is None else pass_over(decision, reason)

    def _note_passed_over(self, request_id: str, decision: Decision, error: CoeError) -> None:
        passed = decision.passed_over[-1]
        self.metrics.passed_over(passed.expert, passed.reason)
        words = "pass over request=%s expert=%s reason=%s next=%s error=%s"
        log.warning(words, request_id, passed.expert, passed.reason, decision.expert, error)

    def _outage(self, expert: str) -> ExpertError | None:
        """What is known to keep every request from the expert: it was refused at start, or its breaker is open."""
        error = self.experts.errors.get(expert) or self.engine.status.outage(expert)
        return error and error.with_traceback(None)  # one instance for all: each raise would add to its traceback

    def _able(self, name: str) -> ServedExpert:
        """Return an expert; raises what is known to keep every request from it."""
        if (outage := self._outage(name)) is not None:
            raise outage
        return self.experts.served[name]

    async def _prepare(
        self, request: GenerateRequest, decision: Decision, submitted_s: float, *, hints: bool = True
    ) -> PreparedPrompt:
        """Return the request as its expert is to run it; raises what keeps it from the expert, if that is known now.

        With `hints` the expert's weights may start moving meanwhile.
        """
        name = decision.expert
        expert = self._able(name)
        tier = self.engine.status.residency(name).tier  # before the hint moves it
        if hints:
            self.engine.post(Hint(name))
        read = await self._encode(expert, request, decision)
        sampling = settle(request.sampling, expert, len(read.token_ids))
        form, is_chat = expert.text.answer_form, request.prompt is None
        score_from = 0 if request.scores_prompt else None
        prompt = PreparedPrompt(
            request_id=attempt_id(request.id, decision),
            expert=expert,
            decision=decision,
            tier=tier,
            token_ids=read.token_ids,
            sampling=sampling,
            submitted_s=submitted_s,
            score_from=score_from,
            prefix_group=request.prefix_group,
            changed=read.changed,
            is_continued=not is_chat or request.prompt_form.continues_last,
            deadline_s=request.deadline_s,
            keep_alive_s=request.keep_alive_s,
            thought_marks=form.lead if is_chat else None,
            is_thinking=read.is_thinking,
            dropped_ids=form.dropped_ids(has_tools=can_call(request)) if is_chat else None,
        )
        try:
            grammar = grammar_of(request, form)
            return prompt if grammar is None else await self._with_grammar(prompt, grammar)
        except InvalidRequestError as error:
            if request.grammar is not None or not can_call(request):
                raise
            raise InvalidRequestError(f"tools cannot be called as their schemas say: {error}", param="tools") from error

    async def _with_grammar(self, prompt: PreparedPrompt, grammar: Grammar) -> PreparedPrompt:
        """Return the prompt with the form of its answer, compiled for the expert's tokens beside all that runs."""
        form = await self._grammars.compiled(
            grammar,
            prompt.expert.text,
            prompt.thought_marks,
            is_thinking=prompt.is_thinking,
            is_continued=prompt.is_continued,
        )
        return prompt._replace(form=form)

    async def _encode(self, expert: ServedExpert, request: GenerateRequest, decision: Decision) -> ChatTokens:
        try:
            return await encode(self.text, expert.text, request, decision)
        except ExpertError as error:
            self.engine.post(Fault(expert.loaded.name, error))
            raise

    def _snapshot(self) -> Snapshot:
        """On the text worker: what the router may know of the experts now, read without asking the engine thread."""
        served, status = self.experts.served, self.engine.status
        broken = status.outages() | self.experts.errors.keys()
        weighed = served if self._weighs_loads else ()
        return Snapshot({name: status.load_s(name) for name in weighed}, broken)

    # -- life

    async def start(self) -> None:
        """Start the engine and bring in what is pinned or preloaded; an expert that fails is logged and left out.

        What else fails here is no expert's and ends the runtime, as a failed engine does.
        """
        self._hear_of_the_engines_end()
        try:
            self.engine.start()
            for expert in self.experts.all_kinds:
                if expert.is_pinned or expert.is_preloaded:
                    await self._preload(expert)
            self._life.started()
        except Exception as error:
            log.critical("the start failed", exc_info=error)
            self._life.end(EngineError(f"the start failed ({reason_of(error)})"))

    async def drain(self, drain_s: float) -> None:
        """Take no more requests, let running ones end for up to `drain_s`, then end the rest with ShutdownError."""
        self._life.stop_accepting()
        if drain_s > 0 and not await self._life.drained(drain_s):
            log.warning("close running=%d drained_s=%g", self._life.num_running, drain_s)
        self._life.end(ShutdownError("the server is shutting down; ask again when it has been restarted"))

    async def close(self, drain_s: float = 0.0, *, timeout_s: float | None = None) -> None:
        """Drain, then end the engine; a step that does not end within `timeout_s` is left behind."""
        await self.drain(drain_s)
        await asyncio.to_thread(self.engine.close, timeout_s)
        if self.engine.is_alive:
            log.error("close: a step or a transfer under way does not end; it is left behind")
        self.text.close()
        self._grammars.close()
        self._store.close()

    @property
    def is_ready(self) -> bool:
        return self._life.is_ready

    @property
    def failure(self) -> str | None:
        """Why the runtime can answer nobody any more, None as long as it can or if it was told to end."""
        return None if self._life.failure is None else str(self._life.failure)

    async def failed(self) -> None:
        """Return when the runtime has failed."""
        await self._life.failed.wait()

    def readiness(self) -> str:
        """Return one line for people: ready, or what is being waited for and how far it is, or what has failed."""
        if self.failure is not None:
            return self.failure
        name = self._life.loading
        if name is None:
            return self._life.state
        now = self.engine.status.residency(name)
        return f"loading {name}, {now.device_bytes * 100 // max(1, now.size_bytes)} %"

    async def _preload(self, expert: ServedExpert | PooledExpert) -> None:
        name = expert.loaded.name
        self._life.begin_loading(name)
        try:
            await (self.operator.pin(name) if expert.is_pinned else self.operator.load(name))
        except CoeError as error:
            log.error("preload expert=%s error=%s", name, error)

    def _hear_of_the_engines_end(self) -> None:
        loop, ended = asyncio.get_running_loop(), self.engine.ended

        def hear(_: object) -> None:
            if isinstance(error := ended.exception(), EngineError) and not loop.is_closed():
                loop.call_soon_threadsafe(self._life.end, error)

        ended.add_done_callback(hear)
