"""What the schema of a tool's parameter says of a value that is written without quotation marks: text, or JSON.

Whoever reads such values and whoever constrains them ask here, so that both mean the same. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["is_text", "may_be_null", "resolved"]

MAX_HOPS = 16
_UNIONS = ("anyOf", "oneOf", "allOf")


def resolved(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a schema with its reference into `root` followed; an empty one for what cannot be followed."""
    for _ in range(MAX_HOPS):
        if not isinstance(schema, Mapping):
            return {}
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#"):
            return schema
        schema = root
        for part in reference.removeprefix("#").removeprefix("/").split("/"):
            key = part.replace("~1", "/").replace("~0", "~")
            schema = schema.get(key) if isinstance(schema, Mapping) else None
    return {}


def is_text(schema: Any, root: Mapping[str, Any]) -> bool:
    """Return whether a value may be a text; one of which nothing is known is."""
    kinds = _kinds(schema, root, MAX_HOPS)
    return not kinds or "string" in kinds


def may_be_null(schema: Any, root: Mapping[str, Any]) -> bool:
    return "null" in _kinds(schema, root, MAX_HOPS)


def _kinds(schema: Any, root: Mapping[str, Any], depth: int) -> set[str]:
    schema = resolved(schema, root)
    named = schema.get("type", ())
    kinds = {named} if isinstance(named, str) else set(named)
    if kinds or depth == 0:
        return kinds
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    kinds |= {_kind(value) for value in values}
    for key in _UNIONS:
        for each in schema.get(key, ()):
            kinds |= _kinds(each, root, depth - 1)
    return kinds


def _kind(value: Any) -> str:
    return "string" if isinstance(value, str) else "null" if value is None else "other"
