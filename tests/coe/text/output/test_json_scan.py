"""The end of a JSON value is where a parser finds it, and is found as the text arrives."""

from __future__ import annotations

import json

import pytest

from coe.text.output.json_scan import JsonScan


@pytest.mark.parametrize("value", [{}, [], {"a": '}]\\"'}, [[1], {"b": ["{"]}], {"é": {"c": '"'}}])
def test_the_end_is_found_with_the_letter_that_makes_it(value: object) -> None:
    text = json.dumps(value)
    scan = JsonScan()
    ends = [scan.upto((text + " tail")[:size]).end for size in range(len(text) + 5)]
    assert ends == [None] * len(text) + [len(text)] * 5


def test_it_is_known_whether_a_string_is_open() -> None:
    assert JsonScan().upto('{"a": "b').is_in_text
    assert not JsonScan().upto('{"a": "b"').is_in_text
