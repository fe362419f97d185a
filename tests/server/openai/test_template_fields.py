"""What a request says of the template: variables with two names, words that are not the client's, how a prompt ends."""

from __future__ import annotations

import pytest

from coe.errors import InvalidRequestError
from coe.types import Message, PromptForm, ToolCall
from server.openai.template_fields import prompt_form_of, template_variables_of

HELLO = (Message("user", "Hello"),)


@pytest.mark.parametrize(
    ("given", "enable_thinking", "effort", "expected"),
    [
        (None, None, None, {}),
        (None, True, None, {"enable_thinking": True, "thinking": True}),
        (None, None, "high", {"reasoning_effort": "high"}),
        (None, None, "minimal", {"reasoning_effort": "minimal", "enable_thinking": False, "thinking": False}),
        (None, True, "none", {"reasoning_effort": "none", "enable_thinking": True, "thinking": True}),
        ({"thinking": True, "x": 1}, False, None, {"enable_thinking": False, "thinking": True, "x": 1}),
    ],
)
def test_thinking_and_effort_are_variables_and_given_ones_win(
    given: dict[str, object] | None, enable_thinking: bool | None, effort: str | None, expected: dict[str, object]
) -> None:
    assert template_variables_of(given, enable_thinking, effort) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", ["messages", "tools", "add_generation_prompt", "chat_template", "continue_final_message"]
)
def test_what_the_request_says_elsewhere_is_no_variable(name: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"chat_template_kwargs has '{name}'") as caught:
        template_variables_of({name: []}, None, None)
    assert caught.value.param == "chat_template_kwargs"


def test_a_prompt_begins_an_answer_ends_without_one_or_goes_on_with_the_last_turn() -> None:
    begun = (*HELLO, Message("assistant", "Once"))
    assert prompt_form_of(HELLO, None, None, None) == PromptForm()
    assert prompt_form_of(HELLO, False, False, None) == PromptForm(begins_answer=False)
    assert prompt_form_of(begun, True, None, False) == PromptForm(False, True, False)
    for wrong in (
        (Message("assistant", ""),),
        (Message("assistant", "", "", (ToolCall("a", "b", "{}"),)),),
    ):
        with pytest.raises(InvalidRequestError, match="continue_final_message needs text in the last turn"):
            prompt_form_of(wrong, True, False, None)
    with pytest.raises(InvalidRequestError, match="both true"):
        prompt_form_of(begun, True, True, None)
