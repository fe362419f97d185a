"""Calls of tools as a grammar in llguidance's Lark, in the form in which an expert writes them.

Where a tool must be called, the answer is calls and nothing else; where it may be and one is strict, text is free and
a call that begins keeps to its schema. Arguments keep to a tool's schema: a strict one's to the letter, another's as
far as the library knows its words. Pure. Source: llguidance's docs/syntax.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from coe.grammar.marks import begins_with_a_token, marked
from coe.grammar.python_calls import python_call
from coe.grammar.source import OPTIONS, schema_of
from coe.grammar.xml_calls import XML_LAYOUTS, xml_call
from coe.text.output.answer_form import AnswerForm
from coe.types import Grammar, Tool, ToolChoice

__all__ = ["answer_grammar"]

MAX_CALLS = 16
_ANY_OBJECT: Mapping[str, Any] = {"type": "object"}
_NO_ARGUMENTS: Mapping[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}


class _Written(NamedTuple):
    """One call of each tool: the rule that begins with the name and ends with the arguments, and what joins calls."""

    opening: str = ""
    before: str = ""  # each call, after the opening of all
    head: str = '{"name": NAME, "arguments": '  # NAME stands for the name as JSON, BARE for the name alone
    tail: str = "}"
    after: str = ""
    between: str = ", "
    closing: str = ""


_LIST = _Written("[", closing="]")
_FORMS: Mapping[str, _Written] = {
    "hermes": _Written(before="<tool_call>\n", after="\n</tool_call>", between="\n"),
    "llama-3": _Written(head='{"name": NAME, "parameters": ', between="; "),
    "granite": _Written("<|tool_call|>[", closing="]"),
    "phi-4": _Written("<|tool_call|>[", closing="]<|/tool_call|>"),
    "command-r": _Written(
        "<|START_ACTION|>[",
        head='{"tool_call_id": "0", "tool_name": NAME, "parameters": ',
        closing="]<|END_ACTION|>",
    ),
    "deepseek": _Written(
        "<｜tool▁calls▁begin｜>",
        "<｜tool▁call▁begin｜>",
        "function<｜tool▁sep｜>BARE\n```json\n",
        "\n```",
        "<｜tool▁call▁end｜>",
        "\n",
        "<｜tool▁calls▁end｜>",
    ),
    "mistral": _Written("[TOOL_CALLS][", closing="]"),
    "harmony": _Written(
        head="<|channel|>commentary to=functions.BARE <|constrain|>json<|message|>",
        tail="",
        between="<|call|><|start|>assistant",
    ),
    "kimi": _Written(
        "<|tool_calls_section_begin|>",
        "<|tool_call_begin|>",
        "functions.BARE:0<|tool_call_argument_begin|>",
        "",
        "<|tool_call_end|>",
        "",
        "<|tool_calls_section_end|>",
    ),
    "jamba": _Written("<tool_calls>[", closing="]</tool_calls>"),
    "nemotron": _Written("<TOOLCALL>[", closing="]</TOOLCALL>"),
    "internlm": _Written(
        before="<|action_start|><|plugin|>\n", head='{"name": NAME, "parameters": ', after="<|action_end|>"
    ),
    "json": _LIST,
}
_MISTRAL_11 = _Written(before="[TOOL_CALLS]", head="BARE[ARGS]", tail="", between="")
_PYTHON_MARKS = (("<|python_start|>", "<|python_end|>"), ("<|tool_call_start|>", "<|tool_call_end|>"))
_ALONE = ("harmony", "internlm")  # one call in an answer


def answer_grammar(
    form: AnswerForm,
    tools: Sequence[Tool],
    choice: ToolChoice,
    asked: Grammar | None,
    *,
    allows_parallel: bool,
) -> Grammar | None:
    """Return the grammar of an answer that may or must call tools; `asked` is the form of one that calls none.

    None: the answer is free. Where tools may be called, only a form in JSON can stand beside them: of another one calls
    are not possible.
    """
    callable_ = [tool for tool in tools if choice.may_call(tool.name)]
    if not callable_:
        return asked
    calls = _Calls(form, callable_, is_forced=choice.mode == "required", allows_parallel=allows_parallel)
    if choice.mode == "required":
        return calls.grammar("start: calls")
    if asked is not None:
        if asked.kind not in ("json_object", "json_schema"):
            return asked
        schema = schema_of(asked) if asked.kind == "json_schema" else _ANY_OBJECT
        return calls.grammar("start: calls | form", *calls.form_of(schema))
    if any(tool.is_strict for tool in callable_) and calls.begins_with_a_token:
        return calls.grammar("start: TEXT? calls?", "TEXT: /(?s:.+)/")
    return None


class _Calls:
    """The rules of calls of these tools."""

    def __init__(self, form: AnswerForm, tools: Sequence[Tool], *, is_forced: bool, allows_parallel: bool) -> None:
        self._form, self._tools = form, tools
        self._is_forced, self._is_alone = is_forced, not allows_parallel or form.calls in _ALONE
        self._written = _written(form)

    @property
    def begins_with_a_token(self) -> bool:
        """Whether the first mark of a call is a token of its own, which no text can have."""
        begins = self._written.opening or self._written.before or self._written.head
        return begins_with_a_token(begins, self._form.ids)

    def grammar(self, *rules: str) -> Grammar:
        written, most = self._written, 1 if self._is_alone else MAX_CALLS
        more = f" ({self._text(written.between)} call){{0,{most - 1}}}" if most > 1 else ""
        lines = [*rules, f"calls: {self._text(written.opening)} call{more} {self._text(written.closing)}"]
        lines.append("call: " + " | ".join(f"call_{at}" for at in range(len(self._tools))))
        for at, tool in enumerate(self._tools):
            lines += self._call(at, tool)
        return Grammar("calls", "\n".join(lines))

    def form_of(self, schema: Mapping[str, Any]) -> list[str]:
        """Return the rules of an answer in JSON that calls nothing."""
        return [f"form: {self._text(self._form.opening)} form_json", f"form_json: {_json(schema, is_strict=True)}"]

    def _call(self, at: int, tool: Tool) -> list[str]:
        schema = schema_of(Grammar("json_schema", json.dumps(dict(tool.parameters) or _NO_ARGUMENTS)))
        if not self._is_forced and not tool.is_strict:
            schema = _ANY_OBJECT
        if (layout := XML_LAYOUTS.get(self._form.calls)) is not None:
            return xml_call(at, tool.name, schema, layout, self._text, is_strict=tool.is_strict)
        if self._form.calls == "pythonic":
            return python_call(at, tool.name, schema, is_strict=tool.is_strict)
        head = self._written.head.replace("NAME", json.dumps(tool.name)).replace("BARE", tool.name)
        before, after = self._written.before + head, self._written.tail + self._written.after
        arguments = _json({"type": "object", **schema}, is_strict=tool.is_strict)
        return [f"call_{at}: {self._text(before)} arguments_{at} {self._text(after)}", f"arguments_{at}: {arguments}"]

    def _text(self, text: str) -> str:
        return marked(text, self._form.call_format.tokens, self._form.ids)


def _written(form: AnswerForm) -> _Written:
    if form.calls == "mistral" and "[ARGS]" in form.ids:
        return _MISTRAL_11
    if (layout := XML_LAYOUTS.get(form.calls)) is not None:
        return _Written(before=layout.opening, between="\n")
    if form.calls == "pythonic":
        marks = next((marks for marks in _PYTHON_MARKS if marks[0] in form.ids), ("", ""))
        return _Written(f"{marks[0]}[", closing=f"]{marks[1]}")
    return _FORMS[form.calls]


def _json(schema: Mapping[str, Any], *, is_strict: bool) -> str:
    return "%json " + json.dumps({**schema, "x-guidance": {**OPTIONS, "lenient": not is_strict}}, ensure_ascii=False)
