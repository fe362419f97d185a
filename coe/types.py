"""The values that cross module boundaries: requests, decisions, events of a generation.

Everything here is frozen; the runtime, the engine and the cache own state and hand these out. Times are seconds on the
monotonic clock, sizes are bytes. Knows nothing about HTTP, torch or files.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol

from coe.conversation import Grammar, Message, Tool, ToolCall, ToolChoice

__all__ = [
    "Admitted",
    "BreakerState",
    "Cached",
    "CostTerm",
    "Decision",
    "Delta",
    "FinishReason",
    "Finished",
    "GenerateEvent",
    "GenerateRequest",
    "Grammar",
    "Likelihood",
    "Message",
    "Neighbour",
    "PassedOver",
    "PassedOverReason",
    "PromptScored",
    "RouteQuery",
    "Routed",
    "Router",
    "Sampling",
    "ShadowChoice",
    "Snapshot",
    "Switch",
    "SwitchKind",
    "Tier",
    "TokenLogprob",
    "Tool",
    "ToolCall",
    "ToolChoice",
    "Usage",
]


BreakerState = Literal["closed", "open", "half-open"]
PassedOverReason = Literal["refused", "failing", "queue", "deadline", "pinned", "unfit"]


class Tier(StrEnum):
    """Where weights are. On a CPU the device tier is the host's bytes themselves."""

    DISK = "disk"
    HOST = "host"
    DEVICE = "device"


class FinishReason(StrEnum):
    """Why a generation ended, in OpenAI's words."""

    STOP = "stop"
    LENGTH = "length"


class SwitchKind(StrEnum):
    """What it took to run an expert: no bytes moved, bytes from RAM, or bytes from disk."""

    DEVICE_HIT = "device_hit"
    HOST_HIT = "host_hit"
    DISK_MISS = "disk_miss"


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen and when to stop.

    None stands for the expert's own generation default, else for this one: temperature 1.0 (as in OpenAI's API), top_p
    1.0, top_k 0 (off), min_p 0, repetition penalty 1.0, presence and frequency penalty 0, max_tokens from the
    configuration. `temperature` 0 is greedy. Before `min_tokens` neither the end of sequence nor a stop string ends
    the answer; with `ignore_eos` the end of sequence never does. `num_logprobs` None asks for no log-probabilities, a
    number for those of the chosen tokens and of so many of the likeliest at each place.
    """

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    min_tokens: int = 0
    ignore_eos: bool = False
    num_logprobs: int | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The experts at one moment, by name: the seconds that loading one would take, and which ones are broken.

    Seconds are those of the bytes that are not where the expert runs, at the speeds measured so far; an expert that is
    missing from `load_s` is one of which they are not known. A broken one was refused at start, or its breaker is open:
    no request reaches it.
    """

    load_s: Mapping[str, float] = field(default_factory=dict)
    broken: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class RouteQuery:
    """Everything that a router may look at.

    `expert` is the name or alias that the client asked for, None to be routed. `conversation` is the client's own name
    for the conversation, None if it has none; `owner` is whose conversations it may go on with. `only_explains` asks
    which expert would answer, without an answer: the decision then has the texts of training prompts whose licence
    allows it, and the router does not remember it.
    """

    messages: tuple[Message, ...]
    expert: str | None = None
    has_tools: bool = False
    conversation: str | None = None
    owner: str = ""
    only_explains: bool = False
    snapshot: Snapshot = field(default_factory=Snapshot)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A training prompt and its cosine to the prompt. `text` is None where its licence does not allow to show it."""

    id: str
    source: str
    category: str
    license: str
    cosine: float
    text: str | None = None


@dataclass(frozen=True, slots=True)
class CostTerm:
    """What the price of a switch weighed: the mapped expert against the chosen one, perhaps the same.

    Scores are expected scores under the category probabilities, `load_s` the seconds until an expert is ready: the
    chosen one has the highest score - `score_per_second` * `load_s`.
    """

    score_per_second: float
    mapped: str
    mapped_score: float
    mapped_load_s: float
    chosen: str
    chosen_score: float
    chosen_load_s: float


@dataclass(frozen=True, slots=True)
class PassedOver:
    """An expert that was to answer and could not.

    `reason` is "refused" (it could not be had at start), "failing" (its step, its weights or its template failed, or
    its breaker is open), "queue" (as many as may wait for it wait already), "deadline" (its share of the time is over,
    or too short to load it), "pinned" (pinned experts leave no room for it) or "unfit" (it was to stand in, and the
    request is wrong for it: its context is shorter, for one).
    """

    expert: str
    reason: PassedOverReason


@dataclass(frozen=True, slots=True)
class ShadowChoice:
    """What a router in shadow would have decided; nobody is answered by it. `error` says why it decided nothing."""

    version: str
    expert: str | None = None
    category: str | None = None
    confidence: float | None = None
    why: str = ""
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Which expert answers, and why.

    `why` is one of
        "model"         the client named the expert
        "mention"       a leading `@expert` named it
        "rule"          a rule of the configuration named it, or its category (`rule` is the rule's number, from 1)
        "category"      the classifier was sure; the general expert answers for a category that has no expert
        "cost"          as "category", but another expert is worth more after the price of loading it (`cost`)
        "conversation"  a follow-up whose topic has not clearly moved stays with the conversation's expert
        "abstain"       the classifier was not sure, or the prompt is unlike everything it was trained on
        "general"       there was nothing to classify
    and `because` says it in a sentence. `text` is the last user turn as the expert is given it. `probabilities` has
    every category where the classifier was asked, and is empty otherwise. `alternatives`, at most two, answer in turn
    where the expert cannot; `passed_over` are those that could not, before this one. `shadow` is what a router in
    shadow said of the same prompt, where there is one and the classifier was asked.
    """

    expert: str
    category: str | None
    confidence: float | None
    why: str
    text: str
    probabilities: Mapping[str, float] = field(default_factory=dict)
    because: str = ""
    rule: int | None = None
    instead_of: str | None = None
    cost: CostTerm | None = None
    nearest: tuple[Neighbour, ...] = ()
    alternatives: tuple[str, ...] = ()
    passed_over: tuple[PassedOver, ...] = ()
    vectors: tuple[bytes, ...] = field(default=(), repr=False, compare=False)
    shadow: ShadowChoice | None = None


class Router(Protocol):
    """Prompts to experts. Pure from the caller's view: same queries, same decisions, alone or in a batch."""

    def route(self, queries: Sequence[RouteQuery]) -> Sequence[Decision]:
        """Return one decision per query; raises UnknownExpertError for a query that names an unknown expert."""
        ...


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """A validated request: a conversation (`messages`), or plain text to continue (`prompt`), never both.

    `num_choices` answers are sampled, each from a random stream of its own. `scores_prompt` asks for the
    log-probabilities of the prompt's own tokens, before the answer, or without one where `max_tokens` is 0.
    `conversation` is the client's own name for the conversation that the request belongs to. `owner` is who asks:
    conversations of others are not gone on with. KV is reused within a `prefix_group` alone. With `passes_over` False
    no other expert answers in the place of one that cannot: a score must not be another's.
    An answer that was kept answers it only if it is younger than `max_age_s` (None: of any age). With `is_kept` False
    its answer is not kept, nor answered by one that was. `grammar` is the form that the answer must have.
    `prompt_ids` are the tokens of `prompt` where the client chose them itself; then it names the expert.
    `template_variables` are given to the expert's chat template beside the conversation and `tools`.
    """

    id: str
    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    prompt_ids: tuple[int, ...] = ()
    expert: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    num_choices: int = 1
    scores_prompt: bool = False
    has_tools: bool = False
    conversation: str | None = None
    passes_over: bool = True
    owner: str = ""
    prefix_group: str = ""
    max_age_s: float | None = None
    is_kept: bool = True
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = field(default_factory=ToolChoice)
    allows_parallel_calls: bool = True
    template_variables: Mapping[str, Any] = field(default_factory=dict)
    grammar: Grammar | None = None


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
    `first_token_s` the time from submission to the first token.
    """

    kind: SwitchKind
    loaded_bytes: int
    load_s: float
    wait_s: float
    first_token_s: float


@dataclass(frozen=True, slots=True)
class Usage:
    """Exact token counts: the prompt's, and those that were sampled, the end of sequence included."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0  # the prompt's: KV copied from an earlier turn or the first choice; all, if Routed.cached


@dataclass(frozen=True, slots=True)
class Cached:
    """An answer that was kept: of the same prompt, or of one that is near (`similarity` is the cosine, else 1)."""

    kind: Literal["exact", "semantic"]
    similarity: float
    age_s: float


@dataclass(frozen=True, slots=True)
class Routed:
    """The first event of a generation: the decision, which will not change any more. `tier` is where the expert's
    weights were when the request asked for it; `changed` says in words what was changed in the conversation, because
    the expert's template refuses it as it is. `cached` says which kept answer this is, None for a new one. `index` is
    the first choice that it is about: requests that are answered together have choices in a row."""

    decision: Decision
    tier: Tier
    prompt_tokens: int
    changed: tuple[str, ...] = ()
    cached: Cached | None = None
    index: int = 0


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
    """

    text: str
    token_ids: tuple[int, ...]
    index: int = 0
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of one choice of a generation."""

    reason: FinishReason
    usage: Usage
    switch: Switch
    index: int = 0


GenerateEvent = Routed | PromptScored | Delta | Finished
