"""Whether a value without quotation marks is text: types, unions, references, listed values."""

from __future__ import annotations

from typing import Any

import pytest

from coe.text.output.parameter_schemas import is_text, may_be_null, resolved

ROOT: dict[str, Any] = {"$defs": {"a/b": {"type": "integer"}, "loop": {"$ref": "#/$defs/loop"}}}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string"}, True),
        ({"type": ["string", "null"]}, True),
        ({"type": "integer"}, False),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, True),
        ({"anyOf": [{"type": "number"}, {"type": "null"}]}, False),
        ({"enum": ["a", "b"]}, True),
        ({"enum": [1, 2]}, False),
        ({"const": "a"}, True),
        ({"$ref": "#/$defs/a~1b"}, False),
        ({"$ref": "#/$defs/none"}, True),
        ({"$ref": "#/$defs/loop"}, True),
        ({}, True),
        (None, True),
    ],
)
def test_what_may_be_text_is(schema: Any, expected: bool) -> None:
    assert is_text(schema, ROOT) is expected


def test_null_and_references() -> None:
    assert may_be_null({"anyOf": [{"type": "string"}, {"type": "null"}]}, ROOT)
    assert not may_be_null({"type": "string"}, ROOT)
    assert resolved({"$ref": "#/$defs/a~1b"}, ROOT) == {"type": "integer"}
