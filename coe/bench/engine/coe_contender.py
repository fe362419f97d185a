"""coe as a contender: one expert under the engine as the server runs it, with prompts as token ids."""

from __future__ import annotations

import time
from collections.abc import Sequence as Rows
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

from coe.assembly.import_experts import Imported
from coe.assembly.wire import wire
from coe.bench.engine.contender import Trace
from coe.config.schema import Config, RouterConfig
from coe.engine.events import Submit
from coe.engine.sampling import Sampler
from coe.engine.sequence import Sequence
from coe.errors import CoeError
from coe.grammar.matcher import CompiledGrammar
from coe.text.detokenizer import Detokenizer
from coe.text.templates import ExpertText
from coe.types import Admitted, Decision, Delta, Finished, RouteQuery, Sampling
from coe.weights.store.unit_store import UnitStore

__all__ = ["Coe"]


class Coe:
    """Our engine as the server runs it: its own thread, scheduler, detokenizer. The expert is loaded when it opens."""

    def __init__(self, config: Config, store: UnitStore, expert: Imported) -> None:
        """`expert` is in the store; the configuration's budgets hold."""
        name = expert.spec.name
        config = replace(config, router=RouterConfig(general=name, enabled=False))
        self._runtime = wire(config, _NoRouter(), store, [expert], {}, {name: name})
        self._served = self._runtime.experts.served[name]
        self.name = f"coe, {expert.manifest.dtype}"
        self.backend = self._served.loaded.model.backend
        self._runtime.engine.start()
        self._runtime.engine.operator.load(name).result()
        self._count = 0

    def tokens(self, text: str) -> list[int]:
        return list(self._served.text.encode_prompt(text))

    @property
    def text(self) -> ExpertText:
        return self._served.text

    def run(
        self,
        prompts: Rows[list[int]],
        num_tokens: int,
        seeds: Rows[int] | None = None,
        forms: Rows[CompiledGrammar | None] | None = None,
    ) -> Trace:
        """Greedy, or with a seed of its own for each prompt at temperature 1; perhaps each with a grammar."""
        events: SimpleQueue[tuple[int, float, Admitted | Delta | Finished | CoeError]] = SimpleQueue()
        started_s = time.monotonic()
        for row, prompt in enumerate(prompts):
            sampling = Sampling(temperature=0.0) if seeds is None else Sampling(temperature=1.0, seed=seeds[row])
            form = None if forms is None else forms[row]
            sampler = Sampler(sampling, matcher=None if form is None else form.matcher(ignores_eos=True))
            sequence = self._sequence(row, prompt, num_tokens, sampler, started_s, events)
            self._runtime.engine.post(Submit((sequence,)))
        trace = Trace([[] for _ in prompts], [[] for _ in prompts])
        num_running = len(prompts)
        while num_running:
            row, at_s, event = events.get()
            if isinstance(event, CoeError):
                raise event
            if isinstance(event, Finished):
                num_running -= 1
            elif isinstance(event, Delta):
                trace.token_ids[row] += event.token_ids
                trace.token_s[row] += [at_s - started_s] * len(event.token_ids)
        return trace

    def _sequence(
        self, row: int, prompt: list[int], num_tokens: int, sampler: Sampler, now_s: float, events: Any
    ) -> Sequence:
        self._count += 1
        return Sequence(
            id=f"bench-{self._count}",
            expert=self._served.loaded.name,
            prompt_ids=tuple(prompt),
            max_tokens=num_tokens,
            eos_ids=frozenset(),
            sampler=sampler,
            detokenizer=Detokenizer(self._served.text.tokenizer),
            vocabulary=self._served.text.vocabulary,
            sink=lambda event: events.put((row, time.monotonic(), event)),
            submitted_s=now_s,
        )

    def close(self) -> None:
        self._runtime.engine.close()


class _NoRouter:
    """Prompts are handed to the engine itself: nothing is ever routed."""

    def route(self, queries: Rows[RouteQuery]) -> Rows[Decision]:
        raise AssertionError(f"{len(queries)} prompts were routed")
