"""Calls of tools in forms that are not JSON alone: tags, Python's calls, Mistral's and DeepSeek's tokens.

Each reader takes the text of a block, its marks included, and returns the calls with what follows them; no calls for
what is none. Sources: the models' chat templates and cards.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from coe.text.output.call_json import arguments_text, call_of, calls_in, decoded
from coe.text.output.parameter_schemas import is_text, may_be_null
from coe.text.output.parts import Called

__all__ = ["Reader", "Schemas", "deepseek", "invoked", "json_in", "kimi", "llama_3", "mistral", "pythonic", "tagged"]

Schemas = Mapping[str, Mapping[str, Any]]  # of the parameters of each tool
Reader = Callable[[str, Schemas], tuple[tuple[Called, ...], str]]

_FUNCTION = re.compile(r"<function=([^>\n]+)>(.*?)(?:</function>|$)", re.DOTALL)
_PARAMETER = re.compile(r"<parameter=([^>\n]+)>(.*?)(?:</parameter>|(?=<parameter=)|$)", re.DOTALL)
_GLM_NAME = re.compile(r"\s*([^\s<{\[]+)\s*(?=<arg_key>|$)")
_GLM_ARGUMENT = re.compile(r"<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)</arg_value>", re.DOTALL)
_MISTRAL = re.compile(r"\s*(?:\[TOOL_CALLS\])?\s*([\w.:/-]+)\s*(?:\[CALL_ID\]\s*\w+\s*)?(?:\[ARGS\])?\s*(?={)")
_DEEPSEEK = re.compile(
    r"<｜tool▁call▁begin｜>\s*(?:function\s*<｜tool▁sep｜>)?\s*([\w.:/-]+)\s*(?:<｜tool▁sep｜>)?\s*(?:```json)?\s*(?={)"
)
_KIMI = re.compile(
    r"<\|tool_call_begin\|>\s*(?:functions\.)?([\w.-]+?)(?::\d+)?\s*<\|tool_call_argument_begin\|>\s*(?={)"
)
_INVOKE = re.compile(r'<(｜DSML｜)?invoke name="([^"]+)">(.*?)</(?:｜DSML｜)?invoke>', re.DOTALL)
_GIVEN = re.compile(
    r'<(?:｜DSML｜)?parameter name="([^"]+)"(?: string="(\w+)")?>(.*?)</(?:｜DSML｜)?parameter>', re.DOTALL
)
_TAGS = re.compile(r"^<(?:seed:)?tool_call>|</(?:seed:)?tool_call>$")
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\0": "\\0"}
_MARK = re.compile(r"^(?:(?:<\|?[\w/]+\|?>|functools(?=\[)|(?:Action:\s*)?```(?:json)?)\s*)+")
_CLOSING = re.compile(r"^(?:</[\w:]+>|<\|/?\w+\|>|```)\s*")
_END = re.compile(r"\s*(?:```)?\s*(?:<｜tool▁call▁end｜>|<\|tool_call_end\|>)?\s*")


def json_in(text: str, _schemas: Schemas) -> tuple[tuple[Called, ...], str]:
    """JSON between two marks, or after one: Granite, Phi, Command R, SmolLM, Jamba, Nemotron, InternLM."""
    calls, rest = calls_in(_MARK.sub("", text, count=1))
    return calls, _CLOSING.sub("", rest.lstrip(), count=1)


def tagged(text: str, schemas: Schemas) -> tuple[tuple[Called, ...], str]:
    """<tool_call>: JSON (Hermes, Qwen), <function=…> with <parameter=…> (Qwen3-Coder), or <arg_key> (GLM)."""
    inner = _TAGS.sub("", text).strip()
    if inner.startswith("<function="):
        return _functions(inner, schemas)
    if inner.startswith(("{", "[")):
        calls, rest = calls_in(inner)
        return (calls, "") if not rest else ((), "")
    if (named := _GLM_NAME.match(inner)) is not None:
        given = _GLM_ARGUMENT.findall(inner)
        return (_with_values(named[1], given, schemas),), ""
    return (), ""


def _functions(text: str, schemas: Schemas) -> tuple[tuple[Called, ...], str]:
    """<function=name> with parameters in tags, or with a JSON object (Llama 3.1)."""
    calls = []
    for found in _FUNCTION.finditer(text):
        body = found[2].strip()
        if body.startswith("{"):
            arguments = arguments_text(body)
            if arguments is None:
                return (), ""
            calls.append(Called(found[1].strip(), arguments))
        else:
            calls.append(_with_values(found[1].strip(), _PARAMETER.findall(body), schemas))
    return tuple(calls), ""


def _with_values(name: str, given: list[tuple[str, str]], schemas: Schemas) -> Called:
    """Return a call whose values are texts: what the schema says is no text is read as JSON."""
    root = schemas.get(name, {})
    properties = root.get("properties", {})
    values = {key.strip(): _value(text, properties.get(key.strip()), root) for key, text in given}
    return Called(name, json.dumps(values, ensure_ascii=False))


def _value(text: str, schema: Any, root: Mapping[str, Any], *, is_json: bool = False) -> Any:
    text = text.removeprefix("\n").removesuffix("\n")
    if not is_json and is_text(schema, root) and not (text.strip() == "null" and may_be_null(schema, root)):
        return text
    read = decoded(text.strip(), 0)
    return text if read is None or text.strip()[read.end :] else read.value


def mistral(text: str, _schemas: Schemas) -> tuple[tuple[Called, ...], str]:
    """[TOOL_CALLS] with a JSON list, or (from v11 on) [TOOL_CALLS]name[ARGS]{…} for each call."""
    inner = text.removeprefix("[TOOL_CALLS]")
    if inner.lstrip().startswith("["):
        return calls_in(inner)
    return _named(_MISTRAL, inner)


def deepseek(text: str, _schemas: Schemas) -> tuple[tuple[Called, ...], str]:
    """DeepSeek's tokens around a name and JSON, in a code block (V3, R1) or bare (V3.1)."""
    calls, rest = _named(_DEEPSEEK, text.removeprefix("<｜tool▁calls▁begin｜>"))
    return calls, rest.removeprefix("<｜tool▁calls▁end｜>").lstrip()


def kimi(text: str, _schemas: Schemas) -> tuple[tuple[Called, ...], str]:
    """Kimi K2's tokens around `functions.name:0` and JSON."""
    calls, rest = _named(_KIMI, text.removeprefix("<|tool_calls_section_begin|>").lstrip())
    return calls, rest.removeprefix("<|tool_calls_section_end|>").lstrip()


def invoked(text: str, schemas: Schemas) -> tuple[tuple[Called, ...], str]:
    """<invoke name="…"> with <parameter name="…">: MiniMax M2, and DeepSeek 3.2, which says what is a string."""
    calls = []
    for found in _INVOKE.finditer(text):
        name, given = found[2], _GIVEN.findall(found[3])
        root = schemas.get(name, {})
        properties = root.get("properties", {})
        values = {
            key: value
            if kind == "true"
            else _value(value, {} if kind else properties.get(key), root, is_json=bool(kind))
            for key, kind, value in given
        }
        calls.append(Called(name, json.dumps(values, ensure_ascii=False)))
    return tuple(calls), ""


def _named(head: re.Pattern[str], text: str) -> tuple[tuple[Called, ...], str]:
    """Return calls of a name followed by a JSON object, and the text after the last one."""
    calls: list[Called] = []
    place = 0
    while (found := head.match(text, place)) is not None and (read := decoded(text, found.end())) is not None:
        call = call_of({"name": found[1], "arguments": read.value})
        if call is None:
            break
        calls.append(call)
        place = _after(text, read.end)
    return tuple(calls), text[place:].lstrip()


def _after(text: str, place: int) -> int:
    found = _END.match(text, place)
    assert found is not None  # it matches the empty text
    return found.end()


def llama_3(text: str, schemas: Schemas) -> tuple[tuple[Called, ...], str]:
    """Llama 3: JSON objects after each other, perhaps after <|python_tag|>, or `brave_search.call(query="…")`."""
    inner = text.removeprefix("<|python_tag|>").strip()
    if inner.startswith("{"):
        return calls_in(inner)
    return pythonic(inner, schemas)


def pythonic(text: str, _schemas: Schemas) -> tuple[tuple[Called, ...], str]:
    """A list of Python's calls (Llama 4, LFM2), or one call; every argument by name and a literal."""
    inner = re.sub(r"<\|python_(?:start|end)\|>|<\|tool_call_(?:start|end)\|>", "", text).strip()
    try:
        tree = ast.parse(_in_one_line(inner), mode="eval").body
        nodes = tree.elts if isinstance(tree, ast.List) else [tree]
        calls = [_python_call(node) for node in nodes]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return (), ""
    return (tuple(calls), "") if calls else ((), "")


def _in_one_line(text: str) -> str:
    """Return Python's source with line ends inside strings escaped: models write code as it is."""
    written, quote, is_escaped = [], "", False
    for letter in text:
        is_quoted = bool(quote)
        if is_quoted and letter in _ESCAPES and not is_escaped:
            letter = _ESCAPES[letter]
        elif letter in "\"'" and not is_escaped and quote in ("", letter):
            quote = "" if is_quoted else letter
        is_escaped = is_quoted and letter == "\\" and not is_escaped
        written.append(letter)
    return "".join(written)


def _python_call(node: ast.expr) -> Called:
    """Raises ValueError for anything but a call with literals by name."""
    if not isinstance(node, ast.Call) or node.args or any(each.arg is None for each in node.keywords):
        raise ValueError("no call with arguments by name")
    name = ".".join(reversed(list(_dotted(node.func)))).removesuffix(".call")
    text = arguments_text({each.arg: _literal(each.value) for each in node.keywords})
    if text is None:
        raise ValueError("arguments that JSON does not have")
    return Called(name, text)


def _dotted(node: ast.expr) -> Iterator[str]:
    while isinstance(node, ast.Attribute):
        yield node.attr
        node = node.value
    if not isinstance(node, ast.Name):
        raise ValueError("no name")
    yield node.id


def _literal(node: ast.expr) -> Any:
    """Return a literal; models write JSON's words, too."""
    words = {"true": True, "false": False, "null": None}
    if isinstance(node, ast.Name) and node.id in words:
        return words[node.id]
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        return [_literal(each) for each in node.elts]
    if isinstance(node, ast.Dict):
        return {str(_literal(key)): _literal(value) for key, value in zip(node.keys, node.values, strict=True) if key}
    value = ast.literal_eval(node)
    if not isinstance(value, str | int | float | bool | None):
        raise ValueError("no value that JSON has")
    return value
