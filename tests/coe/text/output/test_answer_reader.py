"""A whole answer: thoughts, text and calls in their order, special tokens never shown, however the text is cut."""

from __future__ import annotations

import pytest
from model_outputs import RECORDED, TOOLS, Recorded

from coe.text.output.answer_form import AnswerForm
from coe.text.output.answer_reader import reader_of
from coe.text.output.call_formats import CallFormatName
from coe.text.output.parts import Called, Part, Said, Thought
from coe.types import ThoughtMarks, Tool, ToolChoice

OFFERED = tuple(Tool(name, parameters=schema) for name, schema in TOOLS.items())
MAGISTRAL = AnswerForm(
    "mistral", ThoughtMarks("[THINK]", "[/THINK]"), {"[THINK]": 5, "[/THINK]": 6, "[TOOL_CALLS]": 7, "</s>": 2},
    frozenset({"[THINK]", "[/THINK]", "[TOOL_CALLS]", "</s>"}),
)  # fmt: skip


def read(form: AnswerForm, text: str, size: int, tools: tuple[Tool, ...] = OFFERED, **how: bool) -> list[Part]:
    reader = reader_of(form, tools, ToolChoice(), is_thinking=how.get("is_thinking", False))
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    return [part for piece in pieces for part in reader.push(piece)] + reader.finish()


def joined(parts: list[Part]) -> tuple[str, str, int]:
    thought = "".join(part.text for part in parts if isinstance(part, Thought))
    said = "".join(part.text for part in parts if isinstance(part, Said))
    return thought, said, sum(isinstance(part, Called) for part in parts)


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda each: f"{each.form} {each.text[:30]!r}")
def test_calls_of_every_family_follow_thoughts(recorded: Recorded) -> None:
    name: CallFormatName = recorded.form  # type: ignore[assignment]
    form = AnswerForm(name, ThoughtMarks("<think>", "</think>"))
    for size in (1, 3, 11, 10_000):
        opened = read(form, f"<think>\nHm.\n</think>\n\n{recorded.text}", size)
        going_on = read(form, f"Hm.\n</think>\n\n{recorded.text}", size, is_thinking=True)
        assert joined(opened) == joined(going_on) == ("Hm.", recorded.said, len(recorded.calls))


@pytest.mark.parametrize("tools", [OFFERED, ()])
def test_special_tokens_are_read_and_never_shown(tools: tuple[Tool, ...]) -> None:
    for size in (1, 4, 1000):
        assert joined(read(MAGISTRAL, "[THINK]Hm.[/THINK]Fo[/THINK]ur.", size, tools)) == ("Hm.", "Four.", 0)
    assert MAGISTRAL.dropped_ids(has_tools=bool(tools)) == ({2} if tools else {2, 7})
