"""The last decisions that answered requests: a bounded log, and the rows that the router's commands read.

Owns how many are kept and that a prompt is only where that is allowed. On the event loop alone. The form of a row is
docs/routing.md's. Knows nothing about HTTP.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from coe.types import Decision, GenerateRequest

__all__ = ["Decided", "DecisionLog", "row_of", "written_time"]

MAX_PROMPT_CHARS = 32_768  # of a prompt that is kept: the router reads both ends of a long one


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision on a request: `prompt` is None where prompts are not kept, `time_s` unix time."""

    id: str
    request_id: str
    owner: str
    time_s: float
    expert: str
    category: str | None
    confidence: float | None
    why: str
    passed_over: tuple[str, ...]
    prompt: str | None


class DecisionLog:
    """At most `size` decisions, by the request's own id; a client's own name finds the last one of that name."""

    def __init__(self, size: int, *, keeps_prompts: bool) -> None:
        self._size, self._keeps_prompts = size, keeps_prompts
        self._decided: dict[str, Decided] = {}  # the oldest first
        self._ids: dict[tuple[str, str], str] = {}  # (owner, name that the client gave) -> id

    def __len__(self) -> int:
        return len(self._decided)

    def note(self, request: GenerateRequest, decision: Decision) -> None:
        """Keep a decision; one on the same request, which an expert was passed over for, takes its place."""
        self._decided[request.id] = Decided(
            id=request.id,
            request_id=request.request_id,
            owner=request.owner,
            time_s=time.time(),
            expert=decision.expert,
            category=decision.category,
            confidence=decision.confidence,
            why=decision.why,
            passed_over=tuple(passed.expert for passed in decision.passed_over),
            prompt=_both_ends(decision.text) if self._keeps_prompts else None,
        )
        if request.request_id:
            self._ids[request.owner, request.request_id] = request.id
        while len(self._decided) > self._size:
            self._forget(next(iter(self._decided)))

    def last(self, limit: int) -> list[Decided]:
        """Return the newest decisions, the oldest of them first."""
        return list(self._decided.values())[-limit:] if limit else []

    def find(self, name: str, owner: str) -> Decided | None:
        """Return the owner's decision on a request, by its own id or the client's name; None for that of others."""
        decided = self._decided.get(name) or self._decided.get(self._ids.get((owner, name), ""))
        return decided if decided is not None and decided.owner == owner else None

    def _forget(self, request_id: str) -> None:
        gone = self._decided.pop(request_id)
        if self._ids.get((gone.owner, gone.request_id)) == gone.id:
            del self._ids[gone.owner, gone.request_id]


def row_of(decided: Decided) -> dict[str, Any]:
    """Return a decision as a row of decisions."""
    prompt = {} if decided.prompt is None else {"prompt": decided.prompt}
    return {
        "id": decided.id,
        "time": written_time(decided.time_s),
        **prompt,
        "category": decided.category,
        "expert": decided.expert,
        "confidence": decided.confidence,
        "why": decided.why,
        "passed_over": list(decided.passed_over),
        "request_id": decided.request_id,
        "key": decided.owner,
    }


def written_time(time_s: float) -> str:
    """Return unix time as RFC 3339 in UTC, with milliseconds."""
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _both_ends(text: str) -> str:
    half = MAX_PROMPT_CHARS // 2
    return text if len(text) <= MAX_PROMPT_CHARS else f"{text[:half]}\n\n{text[-half:]}"
