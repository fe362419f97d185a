"""The events of a generation, from the decision to the end of each choice."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from coe.types.conversation import CallDelta
from coe.types.places import SwitchKind, Tier
from coe.types.routing import Decision

__all__ = [
    "Admitted",
    "Cached",
    "Delta",
    "FinishReason",
    "Finished",
    "GenerateEvent",
    "Likelihood",
    "PromptScored",
    "Routed",
    "Switch",
    "TokenLogprob",
    "Usage",
]


class FinishReason(StrEnum):
    """Why a generation ended, in OpenAI's words."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token and its natural log-probability under the model, before penalties, bias and temperature.

    `text` has U+FFFD where `bytes` are no whole characters. `top` are the likeliest tokens at this place, best first,
    with an empty `top` of their own. `logprob` is None for the first token of a prompt, which follows nothing.
    """

    token_id: int
    text: str
    bytes: bytes
    logprob: float | None
    top: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely a continuation is after a prompt: the natural log-probabilities of its tokens, in order."""

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]

    @property
    def total(self) -> float:
        return sum(self.logprobs)

    @property
    def mean(self) -> float:
        return self.total / len(self.logprobs)


@dataclass(frozen=True, slots=True)
class Switch:
    """What it cost a request to run its expert.

    `kind` and `loaded_bytes` are about the bytes that moved after the request asked for the expert. `wait_s` is the
    time from submission to the request's first step, `load_s` the part of it in which bytes were moving, and
    `first_token_s` the time from submission to the first token. `evicted_bytes` of others left for them, which took
    `evict_s`.
    """

    kind: SwitchKind
    loaded_bytes: int
    load_s: float
    wait_s: float
    first_token_s: float
    evicted_bytes: int = 0
    evict_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Usage:
    """Exact token counts: the prompt's, and those that were sampled, the end of sequence included."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0  # the prompt's: KV copied from an earlier turn or the first choice; all, if Routed.cached
    reasoning_tokens: int = 0  # of the answer's


@dataclass(frozen=True, slots=True)
class Cached:
    """An answer that was kept: of the same prompt, or of one that is near (`similarity` is the cosine, else 1)."""

    kind: Literal["exact", "semantic"]
    similarity: float
    age_s: float


@dataclass(frozen=True, slots=True)
class Routed:
    """The first event of a generation: the decision, which will not change any more.

    `tier` is where the expert's weights were when the request asked for it; `changed` says in words what was changed in
    the conversation, because the expert's template refuses it as it is. `cached` says which kept answer this is, None
    for a new one. `index` is the first choice that it is about: requests that are answered together have choices in a
    row. `switch` is what it cost, where that is known.
    """

    decision: Decision
    tier: Tier
    prompt_tokens: int
    changed: tuple[str, ...] = ()
    cached: Cached | None = None
    index: int = 0
    switch: Switch | None = None


@dataclass(frozen=True, slots=True)
class Admitted:
    """The engine has taken in every choice of a request: nothing that is known on arrival keeps it out."""


@dataclass(frozen=True, slots=True)
class PromptScored:
    """The scored tokens of the prompt, before the first Delta, where the request asks for them."""

    tokens: tuple[TokenLogprob, ...]
    index: int = 0


@dataclass(frozen=True, slots=True)
class Delta:
    """New text of one choice; empty while a character or a possible stop string is incomplete.

    `token_ids` are those sampled since the last Delta, `logprobs` belong to the tokens whose text begins in this one.
    The first one of a choice has its `switch`.
    `thinking` and `calls` are what the text does not have: thoughts, and calls of tools.
    """

    text: str
    token_ids: tuple[int, ...]
    index: int = 0
    logprobs: tuple[TokenLogprob, ...] = ()
    thinking: str = ""
    calls: tuple[CallDelta, ...] = ()
    switch: Switch | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of one choice of a generation. `stop_string` is the one of the request's that ended it, if one
    did."""

    reason: FinishReason
    usage: Usage
    switch: Switch
    index: int = 0
    stop_string: str | None = None


GenerateEvent = Routed | PromptScored | Delta | Finished
