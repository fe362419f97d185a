"""OpenAI's requests become coe's: every field in its place, neutral values accepted, what is not supported refused."""

from __future__ import annotations

from typing import Any

import pytest

from coe.errors import InvalidRequestError
from coe.types import GenerateRequest, Message, Sampling
from server.bodies import validated
from server.openai.requests import ChatRequest, CompletionRequest

HELLO = [{"role": "user", "content": "hello"}]


def chat(**fields: Any) -> GenerateRequest:
    return validated(ChatRequest, {"messages": HELLO, **fields}).generate_request("id")


def completion(**fields: Any) -> GenerateRequest:
    return validated(CompletionRequest, {"prompt": "hello", **fields}).generate_request("id")


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


def test_unknown_fields_and_neutral_values_are_ignored() -> None:
    neutral = {"tools": [], "tool_choice": "auto", "response_format": {"type": "text"}, "suffix": None, "user": "me"}
    assert chat(**neutral) == chat()


@pytest.mark.parametrize("field", ["tools", "response_format", "functions", "modalities"])
def test_what_is_not_supported_is_refused_by_name(field: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"{field} = .* is not supported yet; leave it out") as caught:
        chat(**{field: ["something"]})
    assert caught.value.param == field


def test_a_completion_continues_one_string_and_may_only_score_it() -> None:
    assert completion(prompt=["one"]).prompt == "one"
    scored = completion(echo=True, logprobs=2, max_tokens=0)
    assert (scored.scores_prompt, scored.sampling.max_tokens, scored.sampling.num_logprobs) == (True, 0, 2)
    assert not completion(logprobs=2).scores_prompt
    for wrong in ({"prompt": ["a", "b"]}, {"prompt": ""}, {"max_tokens": 0}, {"best_of": 2}):
        with pytest.raises(InvalidRequestError):
            completion(**wrong)
