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
from coe.grammar.matcher import CompiledGrammar
from coe.grammar.tool_calls import answer_grammar
from coe.routing import TextWorker
from coe.text.detokenizer import Detokenizer
from coe.text.length_bound import LengthBound
from coe.text.output.answer_form import AnswerForm
from coe.text.rendering import OverrunError
from coe.text.templates import ChatTokens, ExpertText, Extras
from coe.text.tool_turns import num_chars
from coe.types import (
    Decision,
    GenerateRequest,
    Grammar,
    Likelihood,
    Message,
    PromptScored,
    RouteQuery,
    Sampling,
    ThoughtMarks,
    Tier,
    Tool,
)

__all__ = [
    "PreparedPrompt",
    "attempt_id",
    "can_call",
    "check_deadline",
    "check_length",
    "encode",
    "filled",
    "grammar_of",
    "likelihood_of",
    "query_of",
    "routed_messages",
    "sequence_of",
    "settle",
    "turns_of",
]

LONG_CHARS = 200_000  # what is longer takes tenths of a second and waits for its like


class PreparedPrompt(NamedTuple):
    """A request that knows its expert and its tokens. `tier` is where the expert was when the request was routed;
    tokens from `score_from` on are to be scored; `changed` says what its template needed changed; `is_continued` if the
    answer goes on with the prompt's text. `form` is the grammar that the answer keeps to; `thought_marks` say how the
    expert writes what it thinks before it, `is_thinking` if the prompt has begun that; `dropped_ids` are the special
    tokens that are no text (None: all)."""

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
    deadline_s: float | None = None
    keep_alive_s: float | None = None
    thought_marks: ThoughtMarks | None = None
    is_thinking: bool = False
    dropped_ids: frozenset[int] | None = None
    form: CompiledGrammar | None = None

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
    return RouteQuery(
        routed_messages(messages),
        request.expert,
        bool(request.tools),
        request.conversation,
        request.owner,
        exclude=request.exclude,
        prefer=request.prefer,
    )


def routed_messages(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return the turns as the router reads them: no thoughts, no calls, and nothing of what a tool returned."""
    return tuple(Message(turn.role, "" if turn.role == "tool" else turn.content) for turn in messages)


def check_length(request: GenerateRequest, experts: Experts) -> None:
    """Raise ContextLengthError for a request that is too long for the expert it names, or for every expert."""
    name = None if request.expert is None else experts.names.get(request.expert.lower())
    served = experts.served.values() if request.expert is None else filter(None, [experts.served.get(name or "")])
    bounds = [expert.text.bound for expert in served]
    if not bounds:
        return  # an expert that is unknown or cannot be had is told by its own error
    roomiest = LengthBound(max(bound.num_tokens for bound in bounds), max(bound.num_chars for bound in bounds))
    num_chars = _num_chars(request)
    roomiest.check(len(request.messages), num_chars, f"expert '{name}'" if name else "the roomiest expert")


def check_deadline(asked_s: float | None, most_s: float) -> None:
    """Raise InvalidRequestError for a request that asks for more time to its first token than the operator gives."""
    if asked_s is not None and asked_s > most_s:
        raise InvalidRequestError(
            f"coe.deadline_s = {asked_s:g} is more than the {most_s:g} s that the server gives ([scheduler] "
            "deadline_s); lower it, or leave it out",
            param="coe",
        )


def attempt_id(request_id: str, decision: Decision) -> str:
    """Return the id of a request at this expert: what ran for one that was passed over may end a step later."""
    num_hops = len(decision.passed_over)
    return f"{request_id}~{num_hops}" if num_hops else request_id


async def encode(worker: TextWorker, text: ExpertText, request: GenerateRequest, decision: Decision) -> ChatTokens:
    """Return the expert's tokens for a request, an `@expert` mention taken out.

    A long prompt and one whose template is slow are read where they hold up nobody.
    """
    read = _reader_of(text, request, decision)
    if _num_chars(request) > LONG_CHARS:
        return await worker.run_slow(read, False)
    try:
        return await worker.run(read, True)
    except OverrunError:
        return await worker.run_slow(read, False)


def _reader_of(text: ExpertText, request: GenerateRequest, decision: Decision) -> Callable[[bool], ChatTokens]:
    """Return what reads the prompt, quickly or not, on a text thread."""
    turns, form = turns_of(request, decision), request.prompt_form
    if request.prompt_ids:
        return lambda _: ChatTokens(text.check_ids(request.prompt_ids))
    if request.prompt is not None:
        adds = form.adds_special_tokens is not False
        return lambda _: ChatTokens(text.encode_prompt(turns[0].content, add_special_tokens=adds))
    extras = Extras(_offered(request), request.template_variables, form)
    return lambda is_quick: text.read_chat(turns, extras, is_quick=is_quick)


def _offered(request: GenerateRequest) -> tuple[Tool, ...]:
    """Return the tools that the expert is shown."""
    return () if request.tool_choice.mode == "none" else request.tools


def can_call(request: GenerateRequest) -> bool:
    """Return whether the answer may call a tool."""
    return any(request.tool_choice.may_call(tool.name) for tool in request.tools)


def grammar_of(request: GenerateRequest, form: AnswerForm) -> Grammar | None:
    """Return the grammar that the answer keeps to: what was asked, or calls of tools in the expert's form."""
    if request.prompt is not None:
        return request.grammar
    parallel = request.allows_parallel_calls
    return answer_grammar(form, request.tools, request.tool_choice, request.grammar, allows_parallel=parallel)


def _num_chars(request: GenerateRequest) -> int:
    return len(request.prompt or "") + num_chars(request.messages, _offered(request))


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
    text, sampling, form = prompt.expert.text, prompt.sampling, prompt.form
    assert sampling.max_tokens is not None
    matcher = None if form is None else form.matcher(sampling.min_tokens, ignores_eos=sampling.ignore_eos)
    processed = sampling if form is None else replace(sampling, min_tokens=0)  # a grammar sees to that itself
    return Sequence(
        id=f"{prompt.request_id}/{choice}" if choice else prompt.request_id,
        expert=prompt.expert.loaded.name,
        prompt_ids=prompt.token_ids,
        max_tokens=sampling.max_tokens,
        eos_ids=frozenset() if sampling.ignore_eos and form is None else text.eos_ids,
        sampler=Sampler(sampling, processors_of(processed, prompt.token_ids, text.eos_ids), choice, matcher),
        detokenizer=Detokenizer(
            text.tokenizer, sampling.stop, prompt.token_ids if prompt.is_continued else (), prompt.dropped_ids
        ),
        vocabulary=text.vocabulary,
        sink=sink,
        submitted_s=prompt.submitted_s,
        index=choice,
        prompt_donor=prompt.request_id if choice else None,
        min_tokens=sampling.min_tokens,
        score_from=prompt.score_from,
        prefix_group=prompt.prefix_group,
        deadline_s=prompt.deadline_s,
    )


def likelihood_of(scored: PromptScored) -> Likelihood:
    """Return the likelihood that a scored prompt's last tokens have after its first ones."""
    logprobs = tuple(token.logprob for token in scored.tokens if token.logprob is not None)
    return Likelihood(tuple(token.token_id for token in scored.tokens), logprobs)
