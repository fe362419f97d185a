"""Calls of tools as Python's, in a list, as a grammar: Llama 4 and LFM2.

Values are JSON of the property's schema, which Python's literals contain but for three words. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from coe.grammar.source import OPTIONS

__all__ = ["python_call"]

MAX_OPTIONAL = 24  # each of them may be the first one, so that the rule grows with their square


def python_call(at: int, name: str, schema: Mapping[str, Any], *, is_strict: bool) -> list[str]:
    """Return the rules of `call_<at>`: `name(a=1, b="x")`, required arguments first."""
    properties = schema.get("properties", {})
    required = [key for key in properties if key in set(schema.get("required", ()))]
    optional = [key for key in properties if key not in required][:MAX_OPTIONAL]
    shared = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    names = {key: f"argument_{at}_{number}" for number, key in enumerate((*required, *optional))}
    rules = []
    for key, rule in names.items():
        value = {**shared, **properties[key], "x-guidance": {**OPTIONS, "lenient": not is_strict}}
        rules += [f"{rule}: {json.dumps(key + '=')} {rule}_json", f"{rule}_json: %json {json.dumps(value)}"]
    given = _given([names[key] for key in required], [names[key] for key in optional])
    return [f'call_{at}: {json.dumps(name + "(")} {given} ")"', *rules]


def _given(required: Sequence[str], optional: Sequence[str]) -> str:
    if required:
        return ' ", " '.join(required) + _more(optional)
    firsts = [f"{rule}{_more(optional[number + 1 :])}" for number, rule in enumerate(optional)]
    return f"({' | '.join(firsts)})?" if firsts else ""


def _more(optional: Sequence[str]) -> str:
    return "".join(f' (", " {rule})?' for rule in optional)
