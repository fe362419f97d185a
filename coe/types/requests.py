"""What is asked of a runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from coe.types.conversation import Grammar, Message, PromptForm, Tool, ToolChoice

__all__ = ["GenerateRequest", "Sampling"]


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
class GenerateRequest:
    """A validated request: a conversation (`messages`), or plain text to continue (`prompt`), never both.

    `num_choices` answers are sampled, each from a random stream of its own. `scores_prompt` asks for the
    log-probabilities of the prompt's own tokens, before the answer, or without one where `max_tokens` is 0.
    `conversation` is the client's own name for the conversation that the request belongs to. `owner` is who asks:
    conversations of others are not gone on with. KV is reused within a `prefix_group` alone. With `passes_over` False
    no other expert answers in the place of one that cannot: a score must not be another's.
    An answer that was kept answers it only if it is younger than `max_age_s` (None: of any age). With `is_kept` False
    its answer is not kept, nor answered by one that was. `grammar` is the form that the answer must have.
    `request_id` is the client's own name for it.
    `prompt_ids` are the tokens of `prompt` where the client chose them itself; then it names the expert.
    `exclude` and `prefer` are as in RouteQuery. `deadline_s` is the time to the first token, None for the server's own;
    `keep_alive_s` are the idle seconds after which the expert is unloaded from now on (inf: never; None: as before).
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
    conversation: str | None = None
    passes_over: bool = True
    owner: str = ""
    prefix_group: str = ""
    max_age_s: float | None = None
    is_kept: bool = True
    request_id: str = ""
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = field(default_factory=ToolChoice)
    allows_parallel_calls: bool = True
    template_variables: Mapping[str, Any] = field(default_factory=dict)
    prompt_form: PromptForm = field(default_factory=PromptForm)
    grammar: Grammar | None = None
    exclude: tuple[str, ...] = ()
    prefer: tuple[str, ...] = ()
    deadline_s: float | None = None
    keep_alive_s: float | None = None
