"""The table of contents: how a prompt becomes tokens, one line per hop.

The asynchronous face of everything below it, used by the server, the benchmarks and the tests on one event loop.
Knows nothing about HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Collection, Iterable
from contextlib import aclosing
from dataclasses import replace

from coe.engine.events import Cancel, Hint, Submit
from coe.engine.loop import Engine
from coe.errors import CoeError
from coe.experts import Experts, ServedExpert
from coe.lifecycle import Lifecycle
from coe.metrics import Metrics
from coe.operator import Operator
from coe.preparation import PreparedPrompt, check_length, encode, likelihood_of, query_of, sequence_of, settle
from coe.routing import RoutingBatcher, TextWorker
from coe.types import (
    Decision,
    Delta,
    Finished,
    GenerateEvent,
    GenerateRequest,
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


class Runtime:
    """Routes, loads, generates. `start` it, ask it, `close` it, all on one event loop; `operator` takes commands."""

    def __init__(
        self,
        experts: Experts,
        router: Router,
        engine: Engine,
        metrics: Metrics,
        store: UnitStore,
        *,
        weighs_residency: bool = False,
    ) -> None:
        self.experts = experts
        self.engine = engine
        self.metrics = metrics
        self.operator = Operator(experts, engine, store)
        self.text = TextWorker()
        self._routing = RoutingBatcher(self.text, router, metrics, self._snapshot)
        self._weighs_residency = weighs_residency
        self._life = Lifecycle()
        metrics.read_gauges_with(engine.status.gauges)

    # -- the path of a prompt

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[GenerateEvent, None]:
        """Yield Routed, then Deltas and Finished of each choice; raises CoeError. Closing the generator cancels all."""
        with self._life.accepted():
            prompt = await self._prepare(request)
            yield Routed(prompt.decision, prompt.tier, len(prompt.token_ids), prompt.changed)
            async with aclosing(self._run([prompt] * request.num_choices)) as events:
                async for event in events:
                    yield event

    async def likelihoods(self, request: GenerateRequest, continuations: Iterable[str]) -> list[Likelihood]:
        """Return how likely each text is as the answer to a request's prompt; the request's sampling is ignored.

        Raises CoeError as `generate` does, and InvalidRequestError for an empty continuation.
        """
        with self._life.accepted():
            prompt = await self._prepare(replace(request, sampling=Sampling(), scores_prompt=False))
            encode_next = prompt.expert.text.encode_continuation
            scored = [prompt.followed_by(await self.text.run(encode_next, text)) for text in continuations]
            found: dict[int, Likelihood] = {}
            if not scored:
                return []
            async with aclosing(self._run(scored)) as events:
                async for event in events:
                    if isinstance(event, PromptScored):
                        found[event.index] = likelihood_of(event)
            return [found[index] for index in range(len(scored))]

    async def route(self, query: RouteQuery) -> Decision:
        """Return who would answer and why; raises UnknownExpertError."""
        if query.expert is not None:
            self.experts.find(query.expert)
        return await self._routing.route(query)

    async def _prepare(self, request: GenerateRequest) -> PreparedPrompt:
        submitted_s = time.monotonic()
        check_length(request, self.experts)
        decision = await self.route(query_of(request))
        expert = self.experts.get(decision.expert)
        tier = self.engine.status.residency(decision.expert).tier  # before the hint moves it
        self.engine.post(Hint(decision.expert))
        token_ids, changed = await encode(self.text, expert.text, request, decision)
        sampling = settle(request.sampling, expert, len(token_ids))
        score_from = 0 if request.scores_prompt else None
        is_continued = request.prompt is not None
        facts = (sampling, submitted_s, score_from, changed, is_continued)
        return PreparedPrompt(request.id, expert, decision, tier, token_ids, *facts)

    async def _run(self, choices: Collection[PreparedPrompt]) -> AsyncGenerator[PromptScored | Delta | Finished, None]:
        """Yield the events of one sequence per choice until the last has finished; if one fails, all end."""
        events = _Events()
        sequences = [sequence_of(prompt, index, events.put) for index, prompt in enumerate(choices)]
        outcome, num_left = "cancelled", len(sequences)
        try:
            for sequence in sequences:
                self.engine.post(Submit(sequence))
            while num_left:
                event = await events.get()
                if isinstance(event, Finished):
                    num_left -= 1
                    outcome = outcome if num_left else "ok"  # before the caller sees it, who may stop listening
                    if event.usage.completion_tokens:
                        self.metrics.first_token(event.switch.first_token_s)
                yield event
        except CoeError as error:
            outcome = type(error).__name__
            raise
        finally:
            self.metrics.finished(sequences[0].expert, outcome)
            if outcome != "ok":
                for sequence in sequences:
                    self.engine.post(Cancel(sequence.id))

    def _snapshot(self) -> Snapshot:
        """On the text worker: what the router may know of the experts now, read without asking the engine thread."""
        served, status = self.experts.served, self.engine.status
        failed = {name: error for name in served if (error := status.error(name))}
        broken = {name: str(error) for name, error in self.experts.errors.items()} | failed
        weighed = served if self._weighs_residency else ()
        return Snapshot(
            {name: status.missing_bytes(name) for name in weighed},
            {name: error.removeprefix(f"expert '{name}': ") for name, error in broken.items()},
        )

    # -- life

    async def start(self) -> None:
        """Start the engine and bring in what is pinned or preloaded; an expert that fails is logged and left out."""
        self.engine.start()
        for expert in self.experts.served.values():
            if expert.is_pinned or expert.is_preloaded:
                await self._preload(expert)
        self._life.become("ready")

    async def close(self, drain_s: float = 0.0) -> None:
        """Take no more requests, let running ones end for up to `drain_s`, then end the rest with ShutdownError."""
        self._life.become("draining")
        if drain_s > 0 and not await self._life.drained(drain_s):
            log.warning("close running=%d drained_s=%g", self._life.num_running, drain_s)
        await asyncio.to_thread(self.engine.close)
        self.text.close()
        self._life.become("closed")

    @property
    def is_ready(self) -> bool:
        return self._life.is_ready

    def readiness(self) -> str:
        """Return one line for people: ready, or what is being waited for and how far it is."""
        name = self._life.loading
        if name is None:
            return self._life.state
        now = self.engine.status.residency(name)
        return f"loading {name}, {now.device_bytes * 100 // max(1, now.size_bytes)} %"

    async def _preload(self, expert: ServedExpert) -> None:
        name = expert.loaded.name
        self._life.begin_loading(name)
        try:
            await (self.operator.pin(name) if expert.is_pinned else self.operator.load(name))
        except CoeError as error:
            log.error("preload expert=%s error=%s", name, error)


class _Events:
    """What the engine thread says to one request's coroutine."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[PromptScored | Delta | Finished | CoeError] = asyncio.Queue()
        self._hand_over = asyncio.get_running_loop().call_soon_threadsafe

    def put(self, event: PromptScored | Delta | Finished | CoeError) -> None:
        """Any thread."""
        self._hand_over(self._queue.put_nowait, event)

    async def get(self) -> PromptScored | Delta | Finished:
        """Return the next event; raises the error that ended a sequence."""
        event = await self._queue.get()
        if isinstance(event, CoeError):
            raise event
        return event
