"""What makes two requests the same, and which have no question at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from coe.answers.question import MAX_BYTES, MAX_CHARS, Question, question_of
from coe.types import Decision, GenerateRequest, Grammar, Message, PromptForm, Sampling, Tool, ToolCall, ToolChoice

USER = (Message("user", "how far is the moon"),)
GREEDY = Sampling(max_tokens=8, temperature=0.0)
ROUTED = Decision("a", "math", 0.9, "category", USER[0].content, vectors=(b"v", b"v", b"v"))
REQUEST = GenerateRequest("1", USER, owner="alice")


def question(
    turns: tuple[Message, ...] = USER,
    sampling: Sampling = GREEDY,
    decision: Decision = ROUTED,
    identity: str = "weights",
    **changes: Any,
) -> Question | None:
    return question_of(replace(REQUEST, messages=turns, **changes), decision, turns, sampling, identity)


def asked(**changes: Any) -> Question:
    found = question(**changes)
    assert found is not None
    return found


OTHERS: list[dict[str, Any]] = [
    {"turns": (Message("user", "how far is the sun"),)},
    {"turns": (Message("system", "how far is the moon"),)},
    {"turns": (Message("system", "short"), *USER)},
    {"identity": "other weights"},
    {"owner": "bob"},
    {"owner": ""},
    {"num_choices": 2},
    {"scores_prompt": True},
    {"tools": (Tool("f"),)},
    {"tools": (Tool("f", parameters={"type": "object"}),)},
    {"tools": (Tool("f"),), "tool_choice": ToolChoice("none")},
    {"tools": (Tool("f"),), "allows_parallel_calls": False},
    {"template_variables": {"enable_thinking": False}},
    {"prompt_form": PromptForm(begins_answer=False)},
    {"turns": (*USER, Message("assistant", "", "thought"), *USER)},
    {"turns": (*USER, Message("assistant", "", tool_calls=(ToolCall("c", "f", "{}"),)), *USER)},
    {"turns": (*USER, Message("assistant", "", tool_calls=(ToolCall("c", "f", "[]"),)), *USER)},
    {"grammar": Grammar("json_object")},
    {"grammar": Grammar("json_schema", "{}")},
    *(
        {"sampling": replace(GREEDY, **change)}
        for change in (
            {"max_tokens": 9},
            {"stop": ("x",)},
            {"num_logprobs": 0},
            {"num_logprobs": 2},
            {"repetition_penalty": 1.1},
            {"presence_penalty": 0.5},
            {"frequency_penalty": 0.5},
            {"logit_bias": {3: 1.0}},
            {"min_tokens": 2},
            {"ignore_eos": True},
            {"seed": 1},
        )
    ),
]


@pytest.mark.parametrize("change", OTHERS, ids=str)
def test_whatever_may_change_an_answer_or_its_owner_makes_another_question(change: dict[str, Any]) -> None:
    assert asked(**change).key != asked().key


def test_what_changes_no_answer_makes_none() -> None:
    for change in ({"id": "2"}, {"conversation": "c"}, {"prefix_group": "group team"}, {"max_age_s": 3.0}):
        assert asked(**change).key == asked().key
    assert asked(decision=replace(ROUTED, why="model", category=None, vectors=())).key == asked().key


def test_turns_are_kept_apart() -> None:
    one = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    other = (Message("user", "a assistant 1 b"), Message("user", "c"))
    assert asked(turns=one).key != asked(turns=other).key


def test_an_answer_that_is_drawn_or_not_to_be_kept_has_no_question() -> None:
    assert question(sampling=replace(GREEDY, temperature=0.1)) is None
    assert question(sampling=replace(GREEDY, temperature=1.0, seed=1)) is None
    assert question(is_kept=False) is None
    assert question(turns=(Message("user", "x" * (MAX_CHARS + 1)),)) is None


def test_a_group_is_everything_but_the_prompt() -> None:
    other = (Message("user", "what is the way to the moon"),)
    assert asked(turns=other).group == asked().group is not None
    for change in OTHERS[2:]:
        assert asked(**change).group != asked().group or asked(**change).group is None
    assert asked(decision=replace(ROUTED, category="law")).group != asked().group


@pytest.mark.parametrize(
    "change",
    [
        {"turns": (Message("user", "a"), Message("assistant", "b"), *USER)},
        {"turns": (Message("", "a text to continue"),)},
        {"turns": (Message("user", "x" * (MAX_BYTES + 1)),)},
        {"turns": (Message("user", "é" * (MAX_BYTES // 2 + 1)),)},
        {"turns": (Message("system", "short"), Message("user", "two\nparagraphs"))},
        {"turns": (*USER, Message("system", "short"))},
        {"scores_prompt": True},
        {"grammar": Grammar("json_object")},
        {"grammar": Grammar("json_schema", "{}")},
        *({"decision": replace(ROUTED, why=why)} for why in ("abstain", "conversation", "model", "mention", "rule")),
        {"decision": replace(ROUTED, vectors=())},
    ],
    ids=str,
)
def test_what_is_not_a_single_sure_short_turn_is_only_the_same_as_itself(change: dict[str, Any]) -> None:
    assert asked(**change).group is None


def test_under_the_same_system_turn_prompts_are_compared() -> None:
    system = Message("system", "be\nshort")
    one = asked(turns=(system, Message("user", "one paragraph")))
    assert one.group == asked(turns=(system, Message("user", "another"))).group is not None
    assert one.group != asked(turns=(Message("system", "be long"), Message("user", "one paragraph"))).group
