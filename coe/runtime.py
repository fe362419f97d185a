"""The table of contents: how a prompt becomes tokens, one line per hop.

The asynchronous face of everything below it, used by the server, the benchmarks and the tests on one event loop. Owns
the text worker, where prompts are routed in micro-batches, templated and tokenised; the engine owns the rest.
Knows nothing about HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple, TypeVar

from coe.engine.logits_processor import processors_of
from coe.engine.loop import Cancel, Engine, Hint, LoadedExpert, Submit
from coe.engine.sampling import Sampler
from coe.engine.sequence import Sequence, Sink
from coe.errors import CoeError, ExpertError, InvalidRequestError, ShutdownError, UnknownExpertError
from coe.metrics import Metrics
from coe.text.detokenizer import Detokenizer
from coe.text.templates import ExpertText
from coe.types import (
    Decision,
    Delta,
    ExpertStatus,
    Finished,
    GenerateEvent,
    GenerateRequest,
    Likelihood,
    Message,
    PromptScored,
    Routed,
    RouteQuery,
    Router,
    Sampling,
    Snapshot,
    StoreStatus,
    Tier,
)
from coe.weights.store.unit_store import UnitStore

__all__ = ["Runtime", "ServedExpert"]

log = logging.getLogger("coe.runtime")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ServedExpert:
    """An expert that can be asked: what runs it, how it reads and writes, and what it is called."""

    loaded: LoadedExpert
    text: ExpertText
    path: str  # "llama" or "modules"
    aliases: tuple[str, ...] = ()
    defaults: Sampling = field(default_factory=Sampling)
    is_pinned: bool = False
    is_preloaded: bool = False


class _Prompt(NamedTuple):
    """A request that knows its expert, and where that was then; tokens from `score_from` on are to be scored."""

    request_id: str
    expert: ServedExpert
    decision: Decision
    tier: Tier
    token_ids: tuple[int, ...]
    sampling: Sampling
    submitted_s: float
    score_from: int | None

    def followed_by(self, token_ids: tuple[int, ...]) -> _Prompt:
        """With a continuation to score and nothing to sample after it; raises ContextLengthError."""
        together = self.token_ids + token_ids
        self.expert.text.room(len(together) - 1, 1)
        only_scored = replace(self.sampling, max_tokens=0)
        return self._replace(token_ids=together, sampling=only_scored, score_from=len(self.token_ids))


class _Events:
    """What the engine thread says to one request's coroutine."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[PromptScored | Delta | Finished | CoeError] = asyncio.Queue()
        self._hand_over = asyncio.get_running_loop().call_soon_threadsafe

    def put(self, event: PromptScored | Delta | Finished | CoeError) -> None:
        """Any thread."""
        self._hand_over(self._queue.put_nowait, event)

    async def get(self) -> PromptScored | Delta | Finished:
        """The next event; raises the error that ended a sequence."""
        event = await self._queue.get()
        if isinstance(event, CoeError):
            raise event
        return event


class Runtime:
    """Routes, loads, generates. `start` it, ask it, `close` it, all on one event loop."""

    def __init__(
        self,
        experts: Mapping[str, ServedExpert],
        errors: Mapping[str, ExpertError],
        names: Mapping[str, str],
        router: Router,
        engine: Engine,
        metrics: Metrics,
        store: UnitStore,
        *,
        weighs_residency: bool = False,
    ) -> None:
        self.served = experts
        self._errors = errors  # experts that could not be had at start
        self._names = names  # every name and alias in lower case
        self._weighs_residency = weighs_residency
        self.engine = engine
        self.metrics = metrics
        self._store = store
        self._text = _TextWorker()
        self._routing = _Micro(self._text, router, metrics, self._snapshot)
        self._num_running = 0
        self._idle = asyncio.Event()
        self._state = "starting"
        metrics.read_gauges_with(engine.gauges)

    # -- the path of a prompt

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[GenerateEvent, None]:
        """Yield Routed, then Deltas and Finished of each choice; raises CoeError. Closing the generator cancels all."""
        with self._accepted():
            prompt = await self._prepare(request)
            yield Routed(prompt.decision, prompt.tier, len(prompt.token_ids))
            async with aclosing(self._run([prompt] * request.num_choices)) as events:
                async for event in events:
                    yield event

    async def likelihoods(self, request: GenerateRequest, continuations: Iterable[str]) -> list[Likelihood]:
        """Return how likely each text is as the answer to a request's prompt; its sampling is not looked at.

        Raises CoeError as `generate` does, and InvalidRequestError for an empty continuation.
        """
        with self._accepted():
            prompt = await self._prepare(replace(request, sampling=Sampling(), scores_prompt=False))
            encode = prompt.expert.text.encode_continuation
            follow = [prompt.followed_by(await self._text.run(encode, text)) for text in continuations]
            found: dict[int, Likelihood] = {}
            if not follow:
                return []
            async with aclosing(self._run(follow)) as events:
                async for event in events:
                    if isinstance(event, PromptScored):
                        found[event.index] = _likelihood(event)
            return [found[index] for index in range(len(follow))]

    async def _prepare(self, request: GenerateRequest) -> _Prompt:
        submitted_s = time.monotonic()
        decision = await self.route(_query(request))
        expert = self._expert(decision.expert)
        tier = self.engine.residency(decision.expert).tier  # before the hint moves it
        self.engine.post(Hint(decision.expert))
        token_ids = await self._text.run(_encode, expert.text, request, decision)
        sampling = _settle(request.sampling, expert, len(token_ids))
        score_from = 0 if request.scores_prompt else None
        return _Prompt(request.id, expert, decision, tier, token_ids, sampling, submitted_s, score_from)

    async def _run(self, choices: Collection[_Prompt]) -> AsyncGenerator[PromptScored | Delta | Finished, None]:
        """Yield the events of one sequence per choice until the last has finished; if one fails, all end."""
        events = _Events()
        sequences = [_sequence(prompt, index, events.put) for index, prompt in enumerate(choices)]
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

    # -- routing

    async def route(self, query: RouteQuery) -> Decision:
        """Return who would answer and why; raises UnknownExpertError."""
        if query.expert is not None:
            self._expert(self._name(query.expert))
        return await self._routing.route(query)

    def _snapshot(self) -> Snapshot:
        """On the text worker: what the router may know of the experts now, read without asking the engine thread."""
        failed = {name: error for name in self.served if (error := self.engine.error(name))}
        broken = {name: str(error) for name, error in self._errors.items()} | failed
        weighed = self.served if self._weighs_residency else ()
        return Snapshot(
            {name: self.engine.missing_bytes(name) for name in weighed},
            {name: error.removeprefix(f"expert '{name}': ") for name, error in broken.items()},
        )

    # -- the operator

    def encode(self, expert: str, messages: tuple[Message, ...]) -> tuple[int, ...]:
        """A conversation's token ids for one expert."""
        return self._expert(self._name(expert)).text.encode_chat(messages)

    def experts(self) -> list[ExpertStatus]:
        """Every expert of the catalogue, those that could not be had last, with their error."""
        return [self._status(expert) for expert in self.served.values()] + [
            _absent(name, str(error)) for name, error in self._errors.items()
        ]

    async def store(self) -> StoreStatus:
        """What the unit store takes on disk; looks at every file there."""
        return StoreStatus(str(self._store.folder), await asyncio.to_thread(self._store.disk_bytes))

    async def load(self, expert: str) -> None:
        """Bring an expert to the device; returns when all of it is there. Raises UnknownExpertError, WeightsError."""
        await asyncio.wrap_future(self.engine.load(self._known(expert)))

    async def unload(self, expert: str) -> None:
        """Free an expert's memory in every tier, but for what others share and what runs."""
        await asyncio.wrap_future(self.engine.unload(self._known(expert)))

    async def pin(self, expert: str) -> None:
        """Load an expert and keep it."""
        name = self._known(expert)
        await asyncio.wrap_future(self.engine.pin(name))
        await asyncio.wrap_future(self.engine.load(name))

    async def unpin(self, expert: str) -> None:
        await asyncio.wrap_future(self.engine.unpin(self._known(expert)))

    # -- life

    async def start(self) -> None:
        """Start the engine and bring in what is pinned or preloaded; an expert that fails is logged and left out."""
        self.engine.start()
        for expert in self.served.values():
            if expert.is_pinned or expert.is_preloaded:
                await self._preload(expert)
        self._state = "ready"

    async def close(self, drain_s: float = 0.0) -> None:
        """Take no more requests, let running ones end for up to `drain_s`, then end the rest with ShutdownError."""
        self._state = "draining"
        if self._num_running and drain_s > 0:
            self._idle.clear()
            try:
                await asyncio.wait_for(self._idle.wait(), drain_s)
            except TimeoutError:
                log.warning("close running=%d drained_s=%g", self._num_running, drain_s)
        await asyncio.to_thread(self.engine.close)
        self._text.close()
        self._state = "closed"

    @property
    def is_ready(self) -> bool:
        return self._state == "ready"

    def readiness(self) -> str:
        """One line for people: ready, or what is being waited for and how far it is."""
        verb, _, name = self._state.partition(" ")
        if verb != "loading":
            return self._state
        now = self.engine.residency(name)
        return f"loading {name}, {now.device_bytes * 100 // max(1, now.size_bytes)} %"

    # -- small parts

    async def _preload(self, expert: ServedExpert) -> None:
        name = expert.loaded.name
        self._state = f"loading {name}"
        try:
            await (self.pin(name) if expert.is_pinned else self.load(name))
        except CoeError as error:
            log.error("preload expert=%s error=%s", name, error)

    def _accepted(self) -> _Accepted:
        if self._state in ("draining", "closed"):
            raise ShutdownError("the server is shutting down and takes no more requests; try again in a moment")
        return _Accepted(self)

    def _name(self, word: str) -> str:
        name = self._names.get(word.lower())
        if name is None:
            known = ", ".join(dict.fromkeys(self._names.values()))
            raise UnknownExpertError(f"there is no expert '{word}'; the experts are: {known}", param="model")
        return name

    def _known(self, word: str) -> str:
        return self._expert(self._name(word)).loaded.name

    def _expert(self, name: str) -> ServedExpert:
        if name in self._errors:
            raise self._errors[name].with_traceback(None)  # one instance for all: each raise would add to its traceback
        return self.served[name]

    def _status(self, expert: ServedExpert) -> ExpertStatus:
        name, manifest = expert.loaded.name, expert.loaded.manifest
        residency = self.engine.residency(name)
        return ExpertStatus(
            name=name,
            aliases=expert.aliases,
            source=manifest.source,
            path=expert.path,
            dtype=manifest.dtype,
            num_parameters=manifest.num_parameters,
            num_requests=self.engine.num_requests(name),
            last_used_s=self.engine.idle_s(name),
            units=self.engine.unit_statuses(name),
            error=self.engine.error(name),
            **residency._asdict(),
        )


class _Accepted:
    """A request between its acceptance and its end; the last one to end lets `close` go on."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def __enter__(self) -> None:
        self._runtime._num_running += 1

    def __exit__(self, *_: object) -> None:
        self._runtime._num_running -= 1
        if not self._runtime._num_running:
            self._runtime._idle.set()


class _TextWorker:
    """The thread for text. Work begun before `close` ends; later work is refused with ShutdownError."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="coe-text", initializer=_one_math_thread)
        self._is_closed = False

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        if self._is_closed:
            raise ShutdownError("the server is shutting down")
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def close(self) -> None:
        self._is_closed = True
        self._threads.shutdown(wait=False)


class _Micro:
    """Routes in micro-batches: what has come in while the worker was busy goes to the router in one call."""

    def __init__(self, worker: _TextWorker, router: Router, metrics: Metrics, snapshot: Callable[[], Snapshot]) -> None:
        self._worker, self._router, self._metrics, self._snapshot = worker, router, metrics, snapshot
        self._waiting: list[tuple[RouteQuery, asyncio.Future[Decision]]] = []
        self._task: asyncio.Task[None] | None = None

    async def route(self, query: RouteQuery) -> Decision:
        started_s = time.monotonic()
        future: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self._waiting.append((query, future))
        if self._task is None:
            self._task = asyncio.create_task(self._drain())
        decision = await future
        self._metrics.routed(time.monotonic() - started_s)
        return decision

    async def _drain(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            queries = [query for query, _ in batch]
            try:
                decisions = await self._worker.run(self._decide, queries)
            except Exception as error:  # thread edge: everybody in the batch gets it
                _answer(batch, error)
            else:
                for (_, future), decision in zip(batch, decisions, strict=True):
                    if not future.done():
                        future.set_result(decision)
        self._task = None

    def _decide(self, queries: list[RouteQuery]) -> list[Decision]:
        """On the text worker: one snapshot for the batch, then the router."""
        snapshot = self._snapshot()
        return list(self._router.route([replace(query, snapshot=snapshot) for query in queries]))


def _answer(batch: list[tuple[RouteQuery, asyncio.Future[Decision]]], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)


def _one_math_thread() -> None:
    import torch

    torch.set_num_threads(1)  # the worker's own: routing must not fight the engine for cores


def _query(request: GenerateRequest) -> RouteQuery:
    if request.prompt is None and not request.messages:
        raise InvalidRequestError("messages is empty; send at least one message", param="messages")
    messages = request.messages if request.prompt is None else (Message("user", request.prompt),)
    return RouteQuery(messages, request.expert, request.has_tools, request.conversation)


def _encode(text: ExpertText, request: GenerateRequest, decision: Decision) -> tuple[int, ...]:
    """On the text worker: the expert's tokens for this request, an `@expert` mention taken out."""
    if request.prompt is not None:
        return text.encode_prompt(decision.text if decision.why == "mention" else request.prompt)
    messages = list(request.messages)
    if decision.why == "mention":
        last = max(at for at, message in enumerate(messages) if message.role == "user")
        messages[last] = replace(messages[last], content=decision.text)
    return text.encode_chat(messages)


def _settle(asked: Sampling, expert: ServedExpert, num_prompt_tokens: int) -> Sampling:
    """The request's sampling with the expert's defaults filled in and max_tokens cut to the context."""
    expert.text.check_bias(asked.logit_bias)
    names = [item.name for item in fields(Sampling)]
    missing = {name: getattr(expert.defaults, name) for name in names if getattr(asked, name) is None}
    settled = replace(asked, **missing, stop=asked.stop or expert.defaults.stop)
    assert settled.max_tokens is not None
    if settled.min_tokens > settled.max_tokens:
        raise InvalidRequestError(
            f"min_tokens = {settled.min_tokens} is more than max_tokens = {settled.max_tokens}; raise max_tokens",
            param="min_tokens",
        )
    return replace(settled, max_tokens=expert.text.room(num_prompt_tokens, settled.max_tokens))


def _sequence(prompt: _Prompt, index: int, sink: Sink) -> Sequence:
    text, sampling = prompt.expert.text, prompt.sampling
    assert sampling.max_tokens is not None
    return Sequence(
        id=f"{prompt.request_id}/{index}" if index else prompt.request_id,
        expert=prompt.expert.loaded.name,
        prompt_ids=prompt.token_ids,
        max_tokens=sampling.max_tokens,
        eos_ids=frozenset() if sampling.ignore_eos else text.eos_ids,
        sampler=Sampler(sampling, processors_of(sampling, prompt.token_ids, text.eos_ids), index),
        detokenizer=Detokenizer(text.tokenizer, sampling.stop),
        vocabulary=text.vocabulary,
        sink=sink,
        submitted_s=prompt.submitted_s,
        index=index,
        leader=prompt.request_id if index else None,
        min_tokens=sampling.min_tokens,
        score_from=prompt.score_from,
    )


def _likelihood(scored: PromptScored) -> Likelihood:
    logprobs = tuple(token.logprob for token in scored.tokens if token.logprob is not None)
    return Likelihood(tuple(token.token_id for token in scored.tokens), logprobs)


def _absent(name: str, error: str) -> ExpertStatus:
    return ExpertStatus(
        name=name,
        aliases=(),
        source="",
        path="",
        dtype="",
        num_parameters=0,
        size_bytes=0,
        shared_bytes=0,
        host_bytes=0,
        device_bytes=0,
        tier=Tier.DISK,
        is_pinned=False,
        is_streaming=False,
        num_leases=0,
        num_requests=0,
        num_loads=0,
        loaded_bytes=0,
        load_s=0.0,
        last_used_s=None,
        units=(),
        error=error,
    )
