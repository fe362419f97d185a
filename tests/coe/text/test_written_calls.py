"""Calls as what a turn says: each family's own form, and the parser of that form reads them again."""

from __future__ import annotations

import json

import pytest
from model_outputs import TOOLS

from coe.text.output.call_formats import CALL_FORMATS, CallFormatName
from coe.text.output.calls import CallReader
from coe.text.output.parts import Called, Said
from coe.text.written_calls import WRITABLE, with_written_calls

FUNCTIONS = (
    {"name": "get_weather", "arguments": {"city": "Pa'\"ris\n", "days": 3, "exact": True, "units": None}},
    {"name": "get_time", "arguments": {}},
)
TURN = {"role": "assistant", "content": "I look.", "tool_calls": [{"id": "c", "function": each} for each in FUNCTIONS]}


@pytest.mark.parametrize("form", sorted(WRITABLE))
def test_what_is_written_is_read_as_the_same_calls(form: CallFormatName) -> None:
    asked, turn = with_written_calls([{"role": "user", "content": "?"}, TURN], form)
    assert asked == {"role": "user", "content": "?"}
    assert "tool_calls" not in turn
    reader = CallReader(CALL_FORMATS[form], TOOLS)
    parts = reader.push(turn["content"]) + reader.finish()
    assert "".join(part.text for part in parts if isinstance(part, Said)) == "I look."
    calls = [(part.name, json.loads(part.arguments)) for part in parts if isinstance(part, Called)]
    assert calls == [(each["name"], each["arguments"]) for each in FUNCTIONS]


def test_arguments_that_are_no_object_are_written_as_they_are() -> None:
    turn = {"content": "", "tool_calls": [{"function": {"name": "f", "arguments": "{broken"}}]}
    assert with_written_calls([turn], "granite")[0]["content"] == '<|tool_call|>[{"name": "f", "arguments": "{broken"}]'
    assert with_written_calls([turn], "pythonic")[0]["content"] == "<|tool_call_start|>[f()]<|tool_call_end|>"
