"""A call of a tool in tags, as a grammar: Qwen3-Coder's <parameter=…>, GLM's <arg_key>, MiniMax' <invoke> and others.

Each property of the schema is a parameter: a text is free up to its closing tag, another value is JSON of its schema.
Not covered: bounds on texts (`pattern`, `maxLength`), properties that the schema does not list, and texts with `</`
where a token of its own follows that in the closing tag (DeepSeek 3.2). Pure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from coe.grammar.source import OPTIONS
from coe.text.output.parameter_schemas import is_text, resolved

__all__ = ["XML_LAYOUTS", "XmlLayout", "xml_call"]


class XmlLayout(NamedTuple):
    """How a call is written. NAME and KEY stand for the tool's and the parameter's, KIND for whether it is a string."""

    opening: str
    before: str  # a value
    after: str
    closing: str


XML_LAYOUTS: Mapping[str, XmlLayout] = {
    "qwen3-coder": XmlLayout(
        "<tool_call>\n<function=NAME>\n", "<parameter=KEY>\n", "\n</parameter>\n", "</function>\n</tool_call>"
    ),
    "glm": XmlLayout("<tool_call>NAME\n", "<arg_key>KEY</arg_key>\n<arg_value>", "</arg_value>\n", "</tool_call>"),
    "seed": XmlLayout(
        "<seed:tool_call>\n<function=NAME>\n", "<parameter=KEY>", "</parameter>\n", "</function>\n</seed:tool_call>"
    ),
    "minimax": XmlLayout(
        '<minimax:tool_call>\n<invoke name="NAME">\n',
        '<parameter name="KEY">',
        "</parameter>\n",
        "</invoke>\n</minimax:tool_call>",
    ),
    "deepseek-3.2": XmlLayout(
        '<｜DSML｜function_calls>\n<｜DSML｜invoke name="NAME">\n',
        '<｜DSML｜parameter name="KEY" string="KIND">',
        "</｜DSML｜parameter>\n",
        "</｜DSML｜invoke>\n</｜DSML｜function_calls>",
    ),
}


def xml_call(
    at: int, name: str, schema: Mapping[str, Any], layout: XmlLayout, text: Callable[[str], str], *, is_strict: bool
) -> list[str]:
    """Return the rules of `call_<at>`; `text` writes a text in Lark."""
    properties = schema.get("properties", {})
    required = set(schema.get("required", ()))
    shared = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    rules, parts = [], []
    for number, (key, value) in enumerate(properties.items()):
        rule = f"parameter_{at}_{number}"
        parts.append(rule if key in required else f"{rule}?")
        value = {**shared, **resolved(value, schema)}
        kind = "true" if is_text(value, value) else "false"
        before = layout.before.replace("KIND", kind).replace("KEY", key)
        rules += _value(rule, value, text(before), layout.after, text, is_strict=is_strict)
    opening, closing = layout.opening.replace("NAME", name), layout.closing
    return [" ".join([f"call_{at}:", text(opening), *parts, text(closing)]), *rules]


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
        suffix, token, rest = closed.partition(" <[")
        return [f"{rule}: {before} {rule}_text {token}{rest}", f"{rule}_text[suffix={suffix}]: /(?s:.*)/"]
    options = {**OPTIONS, "lenient": not is_strict}
    value = json.dumps({**schema, "x-guidance": options}, ensure_ascii=False)
    return [f"{rule}: {before} {rule}_json {text(after)}", f"{rule}_json: %json {value}"]
