"""The nouns that cross module boundaries: what a client asks, what a router decides, what comes back.

Knows nothing about HTTP, torch or files. Everything here is a frozen value; the living things (runtime, engine,
cache) own state and hand these out. Times are seconds on the monotonic clock, sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

__all__ = [
    "CostTerm",
    "Decision",
    "Delta",
    "ExpertStatus",
    "FinishReason",
    "Finished",
    "GenerateEvent",
    "GenerateRequest",
    "Likelihood",
    "Message",
    "Neighbour",
    "PromptScored",
    "RouteQuery",
    "Routed",
    "Router",
    "Sampling",
    "Snapshot",
    "StoreStatus",
    "Switch",
    "SwitchKind",
    "Tier",
    "TokenLogprob",
    "UnitStatus",
    "Usage",
]


class Tier(StrEnum):
    """Where bytes live. On a CPU the device tier is the host bytes themselves."""

    DISK = "disk"
    HOST = "host"
    DEVICE = "device"


class FinishReason(StrEnum):
    """Why a generation ended, in OpenAI's words."""

    STOP = "stop"
    LENGTH = "length"


class SwitchKind(StrEnum):
    """What it took to run this expert: nothing moved, bytes came from RAM, or bytes came from disk."""

    DEVICE_HIT = "device_hit"
    HOST_HIT = "host_hit"
    DISK_MISS = "disk_miss"


@dataclass(frozen=True, slots=True)
class Message:
    """One chat turn."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen and when to stop.

    None means: the expert's own generation default, else the default named here. `temperature` 0 is greedy.
    Defaults: temperature 1.0 as OpenAI's API has it, top_p 1.0, top_k 0 (off), min_p 0, penalties off (repetition 1.0,
    presence and frequency 0), max_tokens from the configuration. `min_tokens` holds back the end of sequence and stop
    strings; `ignore_eos` forgets the end of sequence altogether. `num_logprobs`: None for no log-probabilities, else
    those of the chosen tokens and of so many of the likeliest at each place.
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
    """The experts at one moment: what a load would move (absent: unknown), and what is wrong with the broken ones."""

    missing_bytes: Mapping[str, int] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RouteQuery:
    """What a router may look at, all of it.

    `expert` is a name or alias that the client asked for, None to be routed. `conversation` is the client's own name
    for the conversation, None if it has none. `only_explains` asks who would answer, without an answer: the decision
    shows the texts of training prompts that it may show, and is not remembered.
    """

    messages: tuple[Message, ...]
    expert: str | None = None
    has_tools: bool = False
    conversation: str | None = None
    only_explains: bool = False
    snapshot: Snapshot = field(default_factory=Snapshot)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A training prompt and its cosine to the prompt. `text` is None where its licence is not ours to pass on."""

    id: str
    source: str
    category: str
    license: str
    cosine: float
    text: str | None = None


@dataclass(frozen=True, slots=True)
class CostTerm:
    """What residency weighed: the expert that the mapping names against the one that was chosen, perhaps the same.

    Scores are expected scores for the category. `missing_bytes` is what loading the mapped expert would have moved.
    """

    epsilon: float
    mapped: str
    mapped_score: float
    chosen: str
    chosen_score: float
    missing_bytes: int | None


@dataclass(frozen=True, slots=True)
class Decision:
    """Who answers and why.

    `why` is one of
        "model"         the client named the expert
        "mention"       a leading `@expert` did
        "rule"          a rule of the configuration (`rule` is its number, from 1)
        "category"      the classifier was sure, also where its category is mapped to nobody and the general one answers
        "resident"      as "category", and a near-equal of the category's expert was already in memory (`cost`)
        "conversation"  a follow-up whose topic has not clearly moved
        "abstain"       the classifier was not sure, or the prompt is unlike anything seen
        "general"       there was nothing to classify
        "broken"        as one of the above, but that expert (`instead_of`) cannot be had
    and `because` says it in a sentence. `text` is the last user turn as the expert should see it. `probabilities`
    covers every category where the classifier was asked, and is empty otherwise.
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


class Router(Protocol):
    """Prompts to experts. Pure from the caller's view: same queries, same decisions, alone or in a batch."""

    def route(self, queries: Sequence[RouteQuery]) -> Sequence[Decision]:
        """Return one decision per query; raises ValueError for an expert nobody knows."""
        ...


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """A validated request: a conversation (`messages`), or plain text to continue (`prompt`), never both.

    `num_choices` answers are sampled, each from a random stream of its own. `scores_prompt` wants the log-probabilities
    of the prompt's own tokens, too, before the answer (or, where `max_tokens` is 0, without one).
    `conversation` is the client's own name for the conversation that the request goes on with.
    """

    id: str
    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    expert: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    num_choices: int = 1
    scores_prompt: bool = False
    has_tools: bool = False
    conversation: str | None = None


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token by itself and its natural log-probability under the model, before anything that sampling does to it.

    `text` has U+FFFD where `bytes` are no whole characters. `top` are the likeliest at this place, best first, without
    tops of their own. `logprob` is None for the first token of a prompt, which follows nothing.
    """

    token_id: int
    text: str
    bytes: bytes
    logprob: float | None
    top: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely a continuation is after a prompt: natural log-probabilities of its tokens, in order."""

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
    """What running the expert cost this request.

    `kind` and `loaded_bytes` cover what had to be moved since the request's expert was asked for; `wait_s` is the time
    from submission until its first step began, `load_s` the part of it in which bytes were moving, `first_token_s` the
    time from submission to the first token.
    """

    kind: SwitchKind
    loaded_bytes: int
    load_s: float
    wait_s: float
    first_token_s: float


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts, exact: what was prefilled and what was sampled (the end-of-sequence token included)."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0  # of the prompt: copied from an earlier turn, or from the request's first choice


@dataclass(frozen=True, slots=True)
class Routed:
    """The first event of a generation: who will answer and why. `tier` is where the expert was at that moment."""

    decision: Decision
    tier: Tier
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class PromptScored:
    """The prompt's tokens that were to be scored, before the first Delta of a request that wants them."""

    tokens: tuple[TokenLogprob, ...]
    index: int = 0


@dataclass(frozen=True, slots=True)
class Delta:
    """Newly decoded text of one choice; may be empty while a UTF-8 sequence or a possible stop string is incomplete.

    `logprobs` are of the tokens whose text has begun to come with it, `token_ids` of those sampled since the last one.
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


@dataclass(frozen=True, slots=True)
class UnitStatus:
    """One unit of an expert. One on its way counts for the tier it comes from; a shared one serves several experts."""

    name: str
    tier: Tier
    size_bytes: int
    is_shared: bool


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """Where imported weights are kept, and the bytes of all files there."""

    folder: str
    disk_bytes: int


@dataclass(frozen=True, slots=True)
class ExpertStatus:
    """An operator's view of one expert. Bytes are of its own units; `shared_bytes` is the part others use too."""

    name: str
    aliases: tuple[str, ...]
    source: str
    path: str  # "llama" (fast path) or "modules" (transformers' own)
    dtype: str
    num_parameters: int
    size_bytes: int
    shared_bytes: int
    host_bytes: int
    device_bytes: int
    tier: Tier
    is_pinned: bool
    is_streaming: bool  # larger than the device: its layers pass through it in every step
    num_leases: int
    num_requests: int  # waiting or running now
    num_loads: int
    loaded_bytes: int
    load_s: float
    last_used_s: float | None  # seconds since last use, None if never
    units: tuple[UnitStatus, ...]
    error: str | None
