"""Calls in what models print, for every family and however the text is cut; what is no call stays text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

import pytest
from model_outputs import NO_CALLS, RECORDED, TOOLS, Recorded

from coe.text.output.call_formats import CALL_FORMATS, CallFormatName
from coe.text.output.calls import CallReader
from coe.text.output.parts import Called, Part, Said

SPECIAL = ("<|python_tag|>", "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "<|tool_call|>", "<｜tool▁calls▁begin｜>")


def read(form: CallFormatName, pieces: Iterable[str]) -> list[Part]:
    tokens = CALL_FORMATS[form].tokens
    reader = CallReader(CALL_FORMATS[form], TOOLS, [token for token in tokens if token in SPECIAL])
    return [part for piece in pieces for part in reader.push(piece)] + reader.finish()


def found(parts: list[Part]) -> tuple[tuple[tuple[str, object], ...], str]:
    calls = tuple((part.name, json.loads(part.arguments)) for part in parts if isinstance(part, Called))
    return calls, "".join(part.text for part in parts if isinstance(part, Said))


def cuts(text: str) -> Iterator[list[str]]:
    yield [text]
    yield list(text)
    for size in (2, 3, 7):
        yield [text[at : at + size] for at in range(0, len(text), size)]
    for at in range(1, len(text)):
        yield [text[:at], text[at:]]


@pytest.mark.parametrize("recorded", [*RECORDED, *NO_CALLS], ids=lambda each: f"{each.form} {each.text[:40]!r}")
def test_calls_and_text_are_found_however_the_text_is_cut(recorded: Recorded) -> None:
    for pieces in cuts(recorded.text):
        assert found(read(recorded.form, pieces)) == (recorded.calls, recorded.said), pieces  # type: ignore[arg-type]


def test_every_form_has_a_recorded_output() -> None:
    assert {recorded.form for recorded in RECORDED} == CALL_FORMATS.keys() - {"harmony"}


def test_text_goes_out_as_it_comes_and_a_call_when_it_is_whole() -> None:
    reader = CallReader(CALL_FORMATS["hermes"], TOOLS)
    assert reader.push("I look") == [Said("I look")]
    assert reader.push(" it up.\n<tool") == [Said(" it up.")]
    assert reader.push('_call>\n{"name": "get_time", "arguments": {}}\n</tool_call') == []
    assert reader.push(">") == [Called("get_time", "{}")]


def test_a_long_call_is_read_in_linear_time() -> None:
    """Each piece was searched from the beginning: 400,000 letters took minutes."""
    code = "x = '\\\"'\\n" * 40_000
    text = f'{{"name": "run_code", "parameters": {{"code": "{code}"}}}}'
    for form, written in (("llama-3", text), ("hermes", f"<tool_call>{text}</tool_call>")):
        (called,) = read(form, (written[at : at + 4] for at in range(0, len(written), 4)))  # type: ignore[arg-type]
        assert isinstance(called, Called)
        assert len(json.loads(called.arguments)["code"]) == 9 * 40_000 - 40_000
