"""A call of a tool in tags, as a grammar: Qwen3-Coder's <parameter=…> and GLM's <arg_key>.

Each property of the schema is a parameter: a text is free up to its closing tag, another value is JSON of its schema.
Not covered: bounds on texts (`pattern`, `maxLength`), and properties that the schema does not list. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from coe.grammar.source import OPTIONS
from coe.text.output.parameter_schemas import is_text, resolved

__all__ = ["xml_call"]


def xml_call(
    at: int, name: str, schema: Mapping[str, Any], is_glm: bool, text: Callable[[str], str], *, is_strict: bool
) -> list[str]:
    """Return the rules of `call_<at>`; `text` writes a text in Lark."""
    properties = schema.get("properties", {})
    required = set(schema.get("required", ()))
    shared = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    rules, parts = [], []
    for number, (key, value) in enumerate(properties.items()):
        rule = f"parameter_{at}_{number}"
        parts.append(rule if key in required else f"{rule}?")
        before, after = _around(key, is_glm)
        rules += _value(
            rule,
            {**shared, **resolved(value, schema)},
            text(before),
            after,
            text,
            is_strict=is_strict,
        )
    opening = f"<tool_call>{name}\n" if is_glm else f"<tool_call>\n<function={name}>\n"
    closing = "</tool_call>" if is_glm else "</function>\n</tool_call>"
    return [" ".join([f"call_{at}:", text(opening), *parts, text(closing)]), *rules]


def _around(key: str, is_glm: bool) -> tuple[str, str]:
    if is_glm:
        return f"<arg_key>{key}</arg_key>\n<arg_value>", "</arg_value>\n"
    return f"<parameter={key}>\n", "\n</parameter>\n"


def _value(
    rule: str, schema: Mapping[str, Any], before: str, after: str, text: Callable[[str], str], *, is_strict: bool
) -> list[str]:
    choices = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if choices and all(isinstance(each, str) for each in choices):
        written = " | ".join(text(each) for each in choices)
        return [f"{rule}: {before} ({written}) {text(after)}"]
    if is_text(schema, schema):
        closed = text(after)
        if closed.startswith("<["):
            return [f"{rule}: {before} {rule.upper()}? {closed}", f"{rule.upper()}: /(?s:.+)/"]
        return [f"{rule}: {before} {rule}_text", f"{rule}_text[suffix={closed}]: /(?s:.*)/"]
    options = {**OPTIONS, "lenient": not is_strict}
    value = json.dumps({**schema, "x-guidance": options}, ensure_ascii=False)
    return [f"{rule}: {before} {rule}_json {text(after)}", f"{rule}_json: %json {value}"]
