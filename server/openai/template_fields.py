"""What a chat request says of the expert's template: variables, thinking, how the prompt ends.

`chat_template_kwargs`, `continue_final_message`, `add_generation_prompt` and `add_special_tokens` mean what they do in
vLLM. Pure. Knows nothing about templates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from coe.errors import InvalidRequestError, shown
from coe.types import Message, PromptForm

__all__ = ["Effort", "prompt_form_of", "template_variables_of"]

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
# what the conversation and the request's own fields say, or how transformers renders
_RESERVED = frozenset(
    {
        *("messages", "conversation", "conversations", "tools", "chat_template", "tokenize", "return_dict"),
        *("add_generation_prompt", "continue_final_message", "return_assistant_tokens_mask", "return_tensors"),
        *("padding", "truncation", "max_length", "tokenizer_kwargs"),
    }
)
_WITHOUT_THOUGHT = ("none", "minimal")


def template_variables_of(
    given: Mapping[str, Any] | None, enable_thinking: bool | None, effort: Effort | None
) -> dict[str, Any]:
    """Return the variables of a template; `given` win. Raises InvalidRequestError for those that are not the client's.

    Templates call the switch of thinking `enable_thinking` (Qwen, SmolLM) or `thinking` (Granite, DeepSeek).
    """
    for name in given or ():
        if name in _RESERVED:
            raise InvalidRequestError(
                f"chat_template_kwargs has {shown(name)}, which the request says elsewhere; leave it out",
                param="chat_template_kwargs",
            )
    variables: dict[str, Any] = {}
    if effort is not None:
        variables["reasoning_effort"] = effort
        if enable_thinking is None and effort in _WITHOUT_THOUGHT:
            enable_thinking = False
    if enable_thinking is not None:
        variables |= {"enable_thinking": enable_thinking, "thinking": enable_thinking}
    return variables | dict(given or {})


def prompt_form_of(
    messages: tuple[Message, ...],
    continue_final_message: bool | None,
    add_generation_prompt: bool | None,
    add_special_tokens: bool | None,
) -> PromptForm:
    """Return how the prompt ends; raises InvalidRequestError for a turn that cannot be continued."""
    if not continue_final_message:
        return PromptForm(add_generation_prompt is not False, False, add_special_tokens)
    if add_generation_prompt:
        raise InvalidRequestError(
            "continue_final_message and add_generation_prompt are both true; the answer either goes on with the last "
            "turn or begins one: send one of them",
            param="continue_final_message",
        )
    last = messages[-1]
    if last.role not in ("assistant", "user", "system") or not last.content or last.tool_calls:
        raise InvalidRequestError(
            f"continue_final_message needs text in the last turn to go on with, and it is of role {shown(last.role)} "
            f"with {len(last.content)} characters and {len(last.tool_calls)} calls; leave it out",
            param="continue_final_message",
        )
    return PromptForm(False, True, add_special_tokens)
