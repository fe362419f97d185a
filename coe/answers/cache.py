"""The answer cache: asks the store for an answer to a request, keeps answers that came to their end, counts both.

Owns what may be answered from it: the same request by its tokens, or by threshold and category a near one. One event
loop uses it. Nothing of it outlives the process, and what an expert is made of cannot change within one; its bytes,
template and defaults are part of every key all the same.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import NamedTuple

from coe.answers.kept_answer import Recording, events_of
from coe.answers.nearest import nearest
from coe.answers.question import Question, question_of, tokens_digest
from coe.answers.store import AnswerStore, Kept
from coe.config.schema import AnswerCacheConfig
from coe.experts import ServedExpert
from coe.preparation import PreparedPrompt, filled, turns_of
from coe.statuses import AnswersStatus
from coe.telemetry.metrics import RequestCount
from coe.types import Cached, Decision, GenerateEvent, GenerateRequest, Routed, Switch, SwitchKind

__all__ = ["AnswerCache", "Found"]

MAX_NEAR = 4096  # newest answers of a group that a prompt is compared with
DIGEST_BYTES = 16


class Found(NamedTuple):
    """A kept answer, and how near its prompt is to the one asked."""

    kept: Kept
    cached: Cached


class AnswerCache:
    """Kept answers. `identities` name each expert's bytes, template and defaults; without them nothing is kept."""

    def __init__(
        self, settings: AnswerCacheConfig, identities: Mapping[str, str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings, self._clock = settings, clock
        self._identities = identities if settings.enabled else {}
        self._store = AnswerStore(settings.max_bytes, settings.ttl_s)
        self._num_exact = self._num_semantic = self._num_missed = 0

    def question(self, request: GenerateRequest, decision: Decision, expert: ServedExpert) -> Question | None:
        """Return what the request asks of the decision's expert; None where the cache has no part in it."""
        identity = self._identities.get(decision.expert)
        if identity is None:
            return None
        sampling = filled(request.sampling, expert.defaults)
        asked = question_of(request, decision, turns_of(request, decision), sampling, identity)
        if asked is None or asked.category in self._settings.semantic:
            return asked
        return Question(asked.key)

    def find(self, question: Question, max_age_s: float | None) -> Found | None:
        """Return the kept answer to a question, or to one that is near enough, if it is younger than `max_age_s`."""
        now_s = self._clock()
        oldest_s = -math.inf if max_age_s is None else now_s - max_age_s
        kept = self._store.get(question.key, now_s) if self._settings.exact else None
        if kept is not None and kept.kept_s > oldest_s:
            return Found(kept, Cached("exact", 1.0, now_s - kept.kept_s))
        return self._find_near(question, now_s, oldest_s)

    def confirmed(self, found: Found | None, token_ids: tuple[int, ...]) -> Found | None:
        """Return what was found if it answers a prompt of these tokens, and count it as a hit or a miss.

        A near prompt has other tokens; the same prompt has, too, where a template says the date.
        """
        if found is None or (
            found.cached.kind == "exact" and not found.kept.payload.startswith(tokens_digest(token_ids))
        ):
            self._num_missed += 1
            return None
        self._num_exact += found.cached.kind == "exact"
        self._num_semantic += found.cached.kind == "semantic"
        return found

    async def answered(
        self, found: Found, prompt: PreparedPrompt, count: RequestCount
    ) -> AsyncGenerator[GenerateEvent, None]:
        """Yield what the engine would: Routed, then the kept events, and a switch that moved nothing."""
        took_s = time.monotonic() - prompt.submitted_s
        switch = Switch(SwitchKind.DEVICE_HIT, 0, 0.0, took_s, took_s)
        yield Routed(prompt.decision, prompt.tier, len(prompt.token_ids), prompt.changed, found.cached, switch=switch)
        events = list(events_of(found.kept.payload[DIGEST_BYTES:], len(prompt.token_ids), switch))
        for at, event in enumerate(events, 1):
            if at == len(events):
                count.outcome = "ok"  # before the caller sees it, who may stop listening
            yield event

    async def keeping(
        self, question: Question, prompt: PreparedPrompt, num_choices: int, events: AsyncGenerator[GenerateEvent, None]
    ) -> AsyncGenerator[GenerateEvent, None]:
        """Yield the events and keep the answer once all are taken; an answer that is cut short is not kept."""
        recording = Recording(num_choices)
        async with aclosing(events):
            async for event in events:
                recording.take(event)
                yield event
        payload = recording.payload()
        if payload is not None:
            payload = tokens_digest(prompt.token_ids) + payload
            self._store.put(question.key, Kept(payload, self._clock(), question.group, question.text, question.vectors))

    def clear(self) -> int:
        """Forget every answer; returns how many there were."""
        return self._store.clear()

    def status(self) -> AnswersStatus:
        """Return the counts since the start, and what is kept now."""
        self._store.expire(self._clock())
        return AnswersStatus(
            is_enabled=self._settings.enabled,
            num_answers=len(self._store),
            used_bytes=self._store.used_bytes,
            budget_bytes=self._settings.max_bytes,
            num_exact_hits=self._num_exact,
            num_semantic_hits=self._num_semantic,
            num_misses=self._num_missed,
            num_evicted=self._store.num_evicted,
            num_expired=self._store.num_expired,
        )

    def check_integrity(self) -> None:
        self._store.check_integrity()

    def _find_near(self, question: Question, now_s: float, oldest_s: float) -> Found | None:
        if question.group is None:
            return None
        newest = self._store.newest_of(question.group, MAX_NEAR, now_s)
        young = [(key, kept) for key, kept in newest if kept.kept_s > oldest_s and key != question.key]
        near = nearest(
            question.text,
            question.vectors,
            [kept.text for _, kept in young],
            [kept.vectors for _, kept in young],
            self._settings.semantic[question.category],
        )
        if near is None:
            return None
        key, kept = young[near.at]
        self._store.get(key, now_s)  # used
        return Found(kept, Cached("semantic", near.cosine, now_s - kept.kept_s))
