"""Whose calls and thoughts have which form is found in the template; the configuration may say another one."""

from __future__ import annotations

import pytest
from chat_templates import TEMPLATES
from tool_templates import TOOL_TEMPLATES

from coe.text.output.answer_form import AddedWord, answer_form_of
from coe.types import ThoughtMarks

THINK = ThoughtMarks("<think>", "</think>")


@pytest.mark.parametrize(
    ("name", "calls", "thoughts"),
    [
        ("qwen-3", "hermes", THINK),
        ("qwen-3-coder", "qwen3-coder", None),
        ("llama-3.1", "llama-3", None),
        ("mistral", "mistral", None),
        ("deepseek", "deepseek", THINK),
    ],
)
def test_a_familys_form_is_found_in_its_template(name: str, calls: str, thoughts: ThoughtMarks | None) -> None:
    form = answer_form_of(TOOL_TEMPLATES[name], (), knows_tools=True)
    assert (form.calls, form.thoughts) == (calls, thoughts)


@pytest.mark.parametrize(
    ("signs", "calls"),
    [
        ("<|python_start|>", "pythonic"),
        ("<|tool_call|>", "granite"),
        ("<|tool_call|> <|/tool_call|>", "phi-4"),
        ("<|START_ACTION|>", "command-r"),
        ("<tool_call> <arg_key>", "glm"),
        ("<|channel|>analysis<|message|>", "harmony"),
        ("<|tool_list_start|>", "pythonic"),
        ("functools[", "phi-4"),
        ("<seed:tool_call>\\n<function=", "seed"),
        ("<minimax:tool_call>", "minimax"),
        ("{%- set dsml_token = '｜DSML｜' %}", "deepseek-3.2"),
        ("<|tool_calls_section_begin|><|tool_call_begin|>functions.", "kimi"),
        ("<TOOLCALL>", "nemotron"),
        ("within <tool_call></tool_call>: <tool_calls>[", "jamba"),
        ("<|action_start|><|plugin|>", "internlm"),
        ("{{ tools }}", "json"),
    ],
)
def test_other_families_show_themselves_too(signs: str, calls: str) -> None:
    assert answer_form_of(signs, (), knows_tools=True).calls == calls


def test_a_template_without_tools_gets_and_gives_hermes_and_the_configuration_comes_first() -> None:
    assert answer_form_of(TEMPLATES["chatml"], (), knows_tools=False).calls == "hermes"
    assert answer_form_of(TOOL_TEMPLATES["qwq"], (), knows_tools=False).thoughts == THINK
    assert answer_form_of(TOOL_TEMPLATES["mistral"], (), knows_tools=True, chosen="json").calls == "json"


def test_special_tokens_that_reading_needs_are_decoded_and_no_others() -> None:
    words = [
        (2, "</s>", True),
        (5, "[TOOL_CALLS]", True),
        (6, "[ARGS]", True),
        (7, "[INST]", True),
        (8, "[CALL_ID]", False),
    ]
    form = answer_form_of(TOOL_TEMPLATES["mistral"], map(AddedWord._make, words), knows_tools=True)
    assert form.hidden(has_tools=True) == ("[TOOL_CALLS]", "[ARGS]")
    assert form.dropped_ids(has_tools=True) == {2, 7}
    assert form.dropped_ids(has_tools=False) is None
