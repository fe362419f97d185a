"""Random JSON schemas of the kinds that a grammar can keep to, and a check of values against them.

Covered: objects with required and optional properties and without others, arrays with bounds, enums, consts, integers
and strings with bounds, unions, null. Knows nothing about coe.
"""

from __future__ import annotations

import json
import random
from typing import Any

__all__ = ["is_valid", "random_schema"]


def random_schema(rng: random.Random, depth: int = 2) -> dict[str, Any]:
    """Return an object's schema whose answers are short."""
    names = rng.sample(["a", "name", "list of", "é", "x_1"], rng.randint(1, 3))
    return {
        "type": "object",
        "properties": {name: _value(rng, depth) for name in names},
        "required": [name for name in names if rng.random() < 0.6],
        "additionalProperties": False,
    }


def _value(rng: random.Random, depth: int) -> dict[str, Any]:
    kind = rng.choice(
        ["integer", "string", "enum", "const", "null", "boolean", *(["object", "array", "anyOf"] if depth else [])]
    )
    match kind:
        case "integer":
            return {"type": "integer", "minimum": rng.randint(-50, 0), "maximum": rng.randint(1, 500)}
        case "string":
            return {"type": "string", "maxLength": rng.randint(1, 8)}
        case "enum":
            return {"enum": rng.sample(["red", "green", 1, None, True, {"a": 1}], 3)}
        case "const":
            return {"const": rng.choice(["v 1", 5, [1, "x"]])}
        case "object":
            return random_schema(rng, depth - 1)
        case "array":
            return {"type": "array", "items": _value(rng, depth - 1), "minItems": rng.randint(0, 1), "maxItems": 3}
        case "anyOf":
            return {"anyOf": [_value(rng, depth - 1), _value(rng, depth - 1)]}
    return {"type": kind}


def is_valid(schema: dict[str, Any], value: Any) -> bool:
    """Return whether a value keeps to a schema of `random_schema`."""
    if "anyOf" in schema:
        return any(is_valid(each, value) for each in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        allowed = schema.get("enum", [schema.get("const")])
        return json.dumps(value) in [json.dumps(each) for each in allowed]  # 1 is not True
    match schema["type"]:
        case "integer":
            return type(value) is int and schema["minimum"] <= value <= schema["maximum"]
        case "string":
            return isinstance(value, str) and len(value) <= schema["maxLength"]
        case "boolean":
            return isinstance(value, bool)
        case "null":
            return value is None
        case "array":
            sizes = isinstance(value, list) and schema["minItems"] <= len(value) <= schema["maxItems"]
            return sizes and all(is_valid(schema["items"], item) for item in value)
    return (
        isinstance(value, dict)
        and set(schema["required"]) <= value.keys() <= schema["properties"].keys()
        and all(is_valid(schema["properties"][name], item) for name, item in value.items())
    )
