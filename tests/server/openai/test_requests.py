"""OpenAI's requests become coe's: every field in its place, neutral values accepted, what is not supported refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from coe.errors import InvalidRequestError
from coe.types import GenerateRequest, Message, PromptForm, Sampling, Tool
from server.bodies import validated
from server.openai.requests import ChatRequest, CompletionRequest
from server.openai.sampling_fields import UNLIMITED

HELLO = [{"role": "user", "content": "hello"}]


def chat(**fields: Any) -> GenerateRequest:
    return validated(ChatRequest, {"messages": HELLO, **fields}).generate_request("id")


def completion(**fields: Any) -> GenerateRequest:
    asked = validated(CompletionRequest, {"prompt": "hello", **fields})
    (only,) = asked.generate_requests("id", ["hello"] * len(asked.prompts))
    return only


def test_messages_arrive_as_texts_with_the_roles_that_templates_know() -> None:
    parts = [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]
    asked = chat(messages=[{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}])
    assert asked.messages == (Message("system", "Be brief."), Message("user", "hello"))


@pytest.mark.parametrize(("model", "expert"), [("coe", None), ("COE", None), ("sql", "sql")])
def test_the_composition_is_routed_and_any_other_model_is_an_expert(model: str, expert: str | None) -> None:
    assert chat(model=model).expert == completion(model=model).expert == expert


def test_every_sampling_field_arrives() -> None:
    asked = chat(
        max_completion_tokens=7,
        max_tokens=9,
        temperature=0.5,
        top_p=0.9,
        top_k=3,
        min_p=0.1,
        repetition_penalty=1.2,
        presence_penalty=0.3,
        frequency_penalty=-0.3,
        logit_bias={"5": -1},
        seed=-1,
        stop="END",
        min_tokens=2,
        ignore_eos=True,
        logprobs=True,
        top_logprobs=4,
        n=2,
    )
    assert asked.num_choices == 2
    assert asked.sampling == Sampling(
        max_tokens=7,
        temperature=0.5,
        top_p=0.9,
        top_k=3,
        min_p=0.1,
        repetition_penalty=1.2,
        presence_penalty=0.3,
        frequency_penalty=-0.3,
        logit_bias={5: -1.0},
        seed=2**63 - 1,
        stop=("END",),
        min_tokens=2,
        ignore_eos=True,
        num_logprobs=4,
    )


def test_neutral_values_and_openai_fields_that_change_no_answer_are_ignored() -> None:
    neutral = {"tools": [], "tool_choice": "auto", "response_format": {"type": "text"}, "suffix": None, "user": "me"}
    harmless = {"metadata": {"a": "b"}, "store": True, "parallel_tool_calls": True, "prompt_cache_key": "x"}
    assert chat(**neutral, **harmless, stream_options={"include_obfuscation": False}) == chat()
    of_a_turn = {"name": "me", "refusal": None, "tool_calls": None}
    assert chat(messages=[{**HELLO[0], **of_a_turn}]) == chat()


@pytest.mark.parametrize("make", [chat, completion])
def test_null_stands_for_the_default_in_every_field(make: Callable[..., GenerateRequest]) -> None:
    kind = ChatRequest if make is chat else CompletionRequest
    optional = [name for name, field in kind.model_fields.items() if not field.is_required()]
    assert len(optional) > 15
    assert make(**dict.fromkeys(optional)) == make()
    assert make(stream_options={"include_usage": None}) == make()


def test_minus_one_is_off() -> None:
    off = chat(top_k=-1, max_tokens=-1)
    assert off.sampling == Sampling(top_k=0, max_tokens=UNLIMITED)
    assert chat(max_completion_tokens=-1).sampling.max_tokens == UNLIMITED
    assert completion(max_tokens=-1, top_k=-1).sampling == off.sampling
    for field in ("top_k", "max_tokens", "max_completion_tokens"):
        with pytest.raises(InvalidRequestError, match=field):
            chat(**{field: -2})


def test_a_turn_without_content_says_so_with_null() -> None:
    turns = [{"role": "assistant", "content": None}, *HELLO]
    assert chat(messages=turns).messages == (Message("assistant", ""), Message("user", "hello"))
    with pytest.raises(InvalidRequestError, match="content: Field required"):
        chat(messages=[{"role": "user"}])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_token": 5}, "unknown field 'max_token'; did you mean 'max_tokens'?"),
        ({"Temperature": 0}, "unknown field 'Temperature'; did you mean 'temperature'?"),
        ({"coee": {"expert": "code"}}, "unknown field 'coee'; did you mean 'coe'"),
        ({"guided_jsn": {}}, "unknown field 'guided_jsn'; did you mean 'guided_json'?"),
        ({"x" * 10**6: None}, "unknown field 'xxx"),
        ({"stream_options": {"include_usages": True}}, "in stream_options; did you mean 'include_usage'?"),
        ({"messages": [{**HELLO[0], "contents": "x"}]}, "'contents' in messages; did you mean 'content'?"),
        ({"messages": [{**HELLO[0], "tool_calls": [{}]}]}, "tool_calls is in a turn of role 'user'; only assistant"),
    ],
)
def test_an_unknown_field_is_refused_by_name(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=re.escape(message)) as caught:
        chat(**fields)
    assert len(str(caught.value)) < 1000


def test_a_value_is_repeated_in_80_characters_at_most() -> None:
    for fields in (
        {"tools": ["x" * 10**6]},
        {"temperature": "x" * 10**6},
        {"messages": [{"role": "x" * 10**6, "content": ""}]},
        {"messages": [{"role": "user", "content": [{"type": "x" * 10**6}]}]},
    ):
        with pytest.raises(InvalidRequestError) as caught:
            chat(**fields)
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("make", "field", "instead"),
    [
        (chat, "modalities", "leave it out"),
        (chat, "moderation", "leave it out$"),
        (chat, "functions", "send tools"),
        (chat, "function_call", "send tool_choice"),
        (completion, "tools", "leave it out"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    make: Callable[..., GenerateRequest], field: str, instead: str
) -> None:
    with pytest.raises(InvalidRequestError, match=f"{field} = .* is not supported yet; {instead}") as caught:
        make(**{field: ["something"]})
    assert caught.value.param == field


def test_tools_their_choice_and_what_the_template_gets_arrive() -> None:
    asked = chat(
        tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        tool_choice="required",
        parallel_tool_calls=False,
        reasoning_effort="none",
        chat_template_kwargs={"language": "de"},
        add_generation_prompt=False,
        add_special_tokens=True,
    )
    assert asked.tools == (Tool("f", parameters={"type": "object"}),)
    assert (asked.tool_choice.mode, asked.allows_parallel_calls) == ("required", False)
    variables = {"reasoning_effort": "none", "enable_thinking": False, "thinking": False, "language": "de"}
    assert asked.template_variables == variables
    assert asked.prompt_form == PromptForm(begins_answer=False, adds_special_tokens=True)
    assert completion(add_special_tokens=False).prompt_form == PromptForm(adds_special_tokens=False)


def test_a_completion_continues_strings_and_may_only_score_them() -> None:
    assert validated(CompletionRequest, {"prompt": "one"}).prompts == ("one",)
    assert validated(CompletionRequest, {"prompt": ["one", [1, 2]]}).prompts == ("one", (1, 2))
    assert validated(CompletionRequest, {"prompt": [1, 2]}).prompts == ((1, 2),)
    scored = completion(echo=True, logprobs=2, max_tokens=0)
    assert (scored.scores_prompt, scored.sampling.max_tokens, scored.sampling.num_logprobs) == (True, 0, 2)
    assert not completion(logprobs=2).scores_prompt
    for wrong in ({"prompt": ["a", []]}, {"prompt": ""}, {"max_tokens": 0}, {"best_of": 2}):
        with pytest.raises(InvalidRequestError):
            completion(**wrong)
