"""Which form of tools a template takes is found by rendering, and the one that is found is taken."""

from __future__ import annotations

import pytest
from chat_templates import TEMPLATES
from tool_templates import TOOL_TEMPLATES

from coe.text.tool_probe import tool_form_of
from coe.text.tool_turns import PLAIN, ToolForm

VARIABLES = (("bos_token", "<s>"), ("eos_token", "</s>"))
EXPECTED = {
    "qwen-3": ToolForm(),
    "qwen-3-coder": ToolForm(),
    "llama-3.1": ToolForm(has_single_calls=True),
    "granite-3.3": ToolForm(has_written_calls=True),
    "gpt-oss": ToolForm(has_single_calls=True),
    "mistral": ToolForm(has_short_ids=True),
    "deepseek": ToolForm(has_argument_objects=False, has_null_content=True),
    "qwq": PLAIN,
}


@pytest.mark.parametrize("name", TOOL_TEMPLATES)
def test_the_form_of_every_family_is_found(name: str) -> None:
    assert tool_form_of(TOOL_TEMPLATES[name], VARIABLES) == EXPECTED[name]


@pytest.mark.parametrize("name", ["chatml", "llama-2", "gemma", "json"])
def test_a_template_without_tools_knows_none(name: str) -> None:
    assert tool_form_of(TEMPLATES[name], VARIABLES) == PLAIN


def test_a_template_that_shows_tools_and_loses_calls_knows_none() -> None:
    template = "{% for tool in tools %}{{ tool | tojson }}{% endfor %}{{ messages[-1].content }}"
    assert tool_form_of(template, ()) == PLAIN
    assert tool_form_of("{% for tool in tools %}{% endfor %}{% while %}", ()) == PLAIN


def test_a_template_that_writes_calls_only_beside_tools_needs_them() -> None:
    """Hermes and Command R have one template for tools and one without; the one without leaves calls out."""
    template = "{% if tools %}" + TOOL_TEMPLATES["qwen-3"] + "{% else %}" + TEMPLATES["chatml"] + "{% endif %}"
    assert tool_form_of(template, VARIABLES) == ToolForm(needs_tools=True)


def test_tools_that_are_listed_as_python_tell_nothing_of_calls() -> None:
    """Apriel's template writes the tools as Python's text and calls as JSON."""
    template = (
        "{{ tools }}{% for message in messages %}{{ message.content }}{% for call in message.tool_calls or [] %}"
        "{{ call.function.name }}{{ call.function.arguments | tojson }}{% endfor %}{% endfor %}"
    )
    assert tool_form_of(template, ()) == ToolForm()
