"""gpt-oss's channels: thoughts, text and calls, however the text is cut."""

from __future__ import annotations

import pytest
from model_outputs import TOOLS

from coe.text.output.harmony import HarmonyReader
from coe.text.output.parts import Called, Said, Thought

ANALYSIS = "<|channel|>analysis<|message|>The user wants the weather.<|end|>"
CALL = '<|start|>assistant<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{"city": "Paris"}'
FINAL = "<|start|>assistant<|channel|>final<|message|>It is warm."


def read(text: str, size: int) -> tuple[str, str, list[Called]]:
    reader = HarmonyReader(TOOLS)
    parts = [part for at in range(0, len(text), size) for part in reader.push(text[at : at + size])] + reader.finish()
    thought = "".join(part.text for part in parts if isinstance(part, Thought))
    said = "".join(part.text for part in parts if isinstance(part, Said))
    return thought, said, [part for part in parts if isinstance(part, Called)]


PARIS = Called("get_weather", '{"city": "Paris"}')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ANALYSIS + FINAL, ("The user wants the weather.", "It is warm.", [])),
        (FINAL.removeprefix("<|start|>assistant") + "<|return|>", ("", "It is warm.", [])),
        (ANALYSIS + CALL, ("The user wants the weather.", "", [PARIS])),  # <|call|> ends the answer
        (ANALYSIS + CALL + "<|call|>", ("The user wants the weather.", "", [PARIS])),
        (
            "<|channel|>commentary<|message|>I look.<|end|>"
            + CALL.replace(
                "<|channel|>commentary to=functions.get_weather", " to=functions.get_weather<|channel|>commentary"
            ),
            ("", "I look.", [PARIS]),
        ),
        (CALL.replace("get_weather", "no_such_tool"), ("", '{"city": "Paris"}', [])),
        (CALL.replace('"Paris"}', ""), ("", '{"city": ', [])),
        ("It is warm.", ("", "It is warm.", [])),
        ("to=do is what I say", ("", "to=do is what I say", [])),
        # as llama.cpp's tests/test-chat.cpp has them: the prompt ends after the role, a call comes in the channel of
        # thoughts, a header names a second channel
        (' to=functions.get_weather<|channel|>commentary json<|message|>{"city": "Paris"}', ("", "", [PARIS])),
        (
            ' to=functions.get_weather<|channel|>analysis <|constrain|>json<|message|>{"city": "Paris"}',
            ("", "", [PARIS]),
        ),
        ('<|channel|>analysis to=functions.get_weather<|message|>{"city": "Paris"}', ("", "", [PARIS])),
        (
            "<|channel|>commentary to=assistant<|channel|>analysis<|message|>Hm.<|end|>"
            "<|start|>assistant<|channel|>final <|constrain|>json<|message|>{}",
            ("Hm.", "{}", []),
        ),
        ("<|channel|>analysis<|message|>Hm", ("Hm", "", [])),
    ],
)
def test_messages_go_where_their_channel_says(text: str, expected: tuple[str, str, list[Called]]) -> None:
    for size in (1, 2, 3, 5, 8, 13, len(text)):
        assert read(text, size) == expected
