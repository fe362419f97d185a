"""From a request and a decision to the engine's sequences: tokens, settled sampling, one sequence for each choice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import NamedTuple

from coe.engine.logits_processor import processors_of
from coe.engine.sampling import Sampler
from coe.engine.sequence import Sequence, Sink
from coe.errors import InvalidRequestError
from coe.experts import Experts, ServedExpert
from coe.routing import TextWorker
from coe.text.detokenizer import Detokenizer
from coe.text.length_bound import LengthBound
from coe.text.rendering import OverrunError
from coe.text.templates import ChatTokens, ExpertText
from coe.types import Decision, GenerateRequest, Likelihood, Message, PromptScored, RouteQuery, Sampling, Tier

__all__ = [
    "PreparedPrompt",
    "check_length",
    "encode",
    "filled",
    "likelihood_of",
    "query_of",
    "sequence_of",
    "settle",
    "turns_of",
]

LONG_CHARS = 200_000  # what is longer takes tenths of a second and waits for its like


class PreparedPrompt(NamedTuple):
    """A request that knows its expert and its tokens. `tier` is where the expert was when the request was routed;
    tokens from `score_from` on are to be scored; `changed` says what its template needed changed; `is_continued` if the
    answer goes on with the prompt's text."""

    request_id: str
    expert: ServedExpert
    decision: Decision
    tier: Tier
    token_ids: tuple[int, ...]
    sampling: Sampling
    submitted_s: float
    score_from: int | None
    prefix_group: str = ""
    changed: tuple[str, ...] = ()
    is_continued: bool = False

    def followed_by(self, token_ids: tuple[int, ...]) -> PreparedPrompt:
        """Return it with a continuation to score and nothing to sample after it; raises ContextLengthError."""
        together = self.token_ids + token_ids
        self.expert.text.room(len(together) - 1, 1)
        only_scored = replace(self.sampling, max_tokens=0)
        return self._replace(token_ids=together, sampling=only_scored, score_from=len(self.token_ids))


def query_of(request: GenerateRequest) -> RouteQuery:
    """Return what the router may look at; raises InvalidRequestError for a request without messages."""
    if request.prompt is None and not request.messages:
        raise InvalidRequestError("messages is empty; send at least one message", param="messages")
    messages = request.messages if request.prompt is None else (Message("user", request.prompt),)
    return RouteQuery(messages, request.expert, request.has_tools, request.conversation, request.owner)


def check_length(request: GenerateRequest, experts: Experts) -> None:
    """Raise ContextLengthError for a request that is too long for the expert it names, or for every expert."""
    name = None if request.expert is None else experts.names.get(request.expert.lower())
    served = experts.served.values() if request.expert is None else filter(None, [experts.served.get(name or "")])
    bounds = [expert.text.bound for expert in served]
    if not bounds:
        return  # an expert that is unknown or cannot be had is told by its own error
    roomiest = LengthBound(max(bound.num_tokens for bound in bounds), max(bound.num_chars for bound in bounds))
    num_chars = len(request.prompt or "") + sum(len(message.content) for message in request.messages)
    roomiest.check(len(request.messages), num_chars, f"expert '{name}'" if name else "the roomiest expert")


async def encode(worker: TextWorker, text: ExpertText, request: GenerateRequest, decision: Decision) -> ChatTokens:
    """Return the expert's tokens for a request, an `@expert` mention taken out.

    A long prompt and one whose template is slow are read where they hold up nobody.
    """
    read = _reader_of(text, request, decision)
    if len(request.prompt or "") + sum(len(message.content) for message in request.messages) > LONG_CHARS:
        return await worker.run_slow(read, False)
    try:
        return await worker.run(read, True)
    except OverrunError:
        return await worker.run_slow(read, False)


def _reader_of(text: ExpertText, request: GenerateRequest, decision: Decision) -> Callable[[bool], ChatTokens]:
    """Return what reads the prompt, quickly or not, on a text thread."""
    turns = turns_of(request, decision)
    if request.prompt_ids:
        return lambda _: ChatTokens(text.check_ids(request.prompt_ids))
    if request.prompt is not None:
        return lambda _: ChatTokens(text.encode_prompt(turns[0].content))
    return lambda is_quick: text.read_chat(turns, is_quick=is_quick)


def turns_of(request: GenerateRequest, decision: Decision) -> tuple[Message, ...]:
    """Return what the expert is given, an `@expert` mention taken out; a text to continue is a turn without a role."""
    turns = list(request.messages) if request.prompt is None else [Message("", request.prompt)]
    if decision.why == "mention":
        last = max(at for at, turn in enumerate(turns) if turn.role in ("user", ""))
        turns[last] = replace(turns[last], content=decision.text)
    return tuple(turns)


def settle(asked: Sampling, expert: ServedExpert, num_prompt_tokens: int) -> Sampling:
    """Return the request's sampling with the expert's defaults filled in and max_tokens cut to the context.

    Raises InvalidRequestError for a token or a length that the expert cannot have, ContextLengthError for a prompt
    that leaves no room.
    """
    expert.text.check_bias(asked.logit_bias)
    settled = filled(asked, expert.defaults)
    assert settled.max_tokens is not None
    if settled.min_tokens > settled.max_tokens:
        raise InvalidRequestError(
            f"min_tokens = {settled.min_tokens} is more than max_tokens = {settled.max_tokens}; raise max_tokens",
            param="min_tokens",
        )
    return replace(settled, max_tokens=expert.text.room(num_prompt_tokens, settled.max_tokens))


def filled(asked: Sampling, defaults: Sampling) -> Sampling:
    """Return the request's sampling with an expert's defaults in the place of what it does not say."""
    missing = {
        item.name: getattr(defaults, item.name) for item in fields(Sampling) if getattr(asked, item.name) is None
    }
    return replace(asked, **missing, stop=asked.stop or defaults.stop)


def sequence_of(prompt: PreparedPrompt, choice: int, sink: Sink) -> Sequence:
    """Return the sequence of one choice, whose events go to `sink`."""
    text, sampling = prompt.expert.text, prompt.sampling
    assert sampling.max_tokens is not None
    return Sequence(
        id=f"{prompt.request_id}/{choice}" if choice else prompt.request_id,
        expert=prompt.expert.loaded.name,
        prompt_ids=prompt.token_ids,
        max_tokens=sampling.max_tokens,
        eos_ids=frozenset() if sampling.ignore_eos else text.eos_ids,
        sampler=Sampler(sampling, processors_of(sampling, prompt.token_ids, text.eos_ids), choice),
        detokenizer=Detokenizer(text.tokenizer, sampling.stop, prompt.token_ids if prompt.is_continued else ()),
        vocabulary=text.vocabulary,
        sink=sink,
        submitted_s=prompt.submitted_s,
        index=choice,
        prompt_donor=prompt.request_id if choice else None,
        min_tokens=sampling.min_tokens,
        score_from=prompt.score_from,
        prefix_group=prompt.prefix_group,
    )


def likelihood_of(scored: PromptScored) -> Likelihood:
    """Return the likelihood that a scored prompt's last tokens have after its first ones."""
    logprobs = tuple(token.logprob for token in scored.tokens if token.logprob is not None)
    return Likelihood(tuple(token.token_id for token in scored.tokens), logprobs)
