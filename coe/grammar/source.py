"""What a request's grammar is in llguidance's form: sub-grammars as JSON, perhaps behind what the model thinks first.

Owns the bounds on what a client may send, and the white space that JSON may have. Pure: knows nothing about tokenizers
but which marks are tokens of their own. Source: llguidance's docs/syntax.md and docs/json_schema.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from llguidance import LLMatcher
from llguidance.gbnf_to_lark import any_to_lark

from coe.errors import InvalidRequestError
from coe.grammar.marks import begins_with_a_token, marked
from coe.types import Grammar, ThoughtMarks

__all__ = ["OPTIONS", "Lead", "param_of", "schema_of", "written"]

MAX_CHARS = 100_000  # a schema of 2,700 properties, which takes 3 s to compile
MAX_DEPTH = 100  # of nested JSON; the library's parser has 128
SPACE = r"[\x20\x0A\x0D\x09]"
# JSON between tokens: without a bound a model may write white space until its tokens are used up
OPTIONS = {"whitespace_pattern": SPACE + "{1,40}", "lenient": False, "coerce_one_of": False}


class Lead(NamedTuple):
    """What may stand before the grammar.

    With `marks` it is what the model thinks: `is_thinking` if the prompt has opened the block. `mark_ids` are the marks
    that are tokens of their own. With `has_blank` the text may begin with a blank, which its decoder takes away.
    `opening` begins an answer that calls no tools.
    """

    marks: ThoughtMarks | None = None
    is_thinking: bool = False
    mark_ids: tuple[tuple[str, int], ...] = ()
    has_blank: bool = False
    opening: str = ""


def param_of(grammar: Grammar) -> str:
    """Return the field of a request that asks for grammars of this kind."""
    if grammar.kind == "calls":
        return "tools"
    return "response_format" if grammar.kind in ("json_object", "json_schema") else "structured_outputs"


def written(grammar: Grammar, lead: Lead = Lead()) -> str:  # noqa: B008 (frozen)
    """Return a grammar as llguidance reads it; raises InvalidRequestError for one that is too large or no JSON."""
    if len(grammar.source) > MAX_CHARS:
        raise _refused(grammar, f"it has {len(grammar.source):,} characters, and {MAX_CHARS:,} are the most")
    answer = _answer(grammar)
    before = _before(lead if grammar.kind != "calls" else lead._replace(opening=""))
    if not before:
        return json.dumps({"grammars": [answer]})
    outer = {"lark_grammar": before}
    return json.dumps({"grammars": [outer, {**answer, "name": "answer"}]})


def _answer(grammar: Grammar) -> dict[str, Any]:
    match grammar.kind:
        case "json_object":
            return {"json_schema": {"type": "object", "x-guidance": OPTIONS}}
        case "json_schema":
            return {"json_schema": {**schema_of(grammar), "x-guidance": OPTIONS}}
        case "regex":
            (regex,) = json.loads(LLMatcher.grammar_from_regex(grammar.source))["grammars"]
            return dict(regex)
        case "choice":
            return {"lark_grammar": _choice(grammar)}
        case "calls":
            return {"lark_grammar": grammar.source}
        case "lark":
            return {"lark_grammar": _lark(grammar)}


def schema_of(grammar: Grammar) -> Mapping[str, Any]:
    """Return a grammar's JSON schema as an object; raises InvalidRequestError for one that is none, or too deep."""
    schema = _parsed(grammar)
    if schema is True:
        return {}
    if not isinstance(schema, dict):
        raise _refused(grammar, f"a schema is a JSON object, not {type(schema).__name__}")
    if _is_deep(schema):
        raise _refused(grammar, f"it is nested more than {MAX_DEPTH} deep")
    return schema


def _choice(grammar: Grammar) -> str:
    texts = _parsed(grammar)
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
        raise _refused(grammar, "a choice is a list of texts, at least one and none empty")
    written_out = " | ".join(json.dumps(text, ensure_ascii=False) for text in dict.fromkeys(texts))
    return f"start: CHOICE\nCHOICE: {written_out}"  # one terminal: thousands of rules would be too many


def _lark(grammar: Grammar) -> str:
    """Return a grammar in Lark's form; one in GBNF, which vLLM and llama.cpp take too, is rewritten."""
    try:
        return any_to_lark(grammar.source)
    except Exception as error:  # the rewriter raises bare exceptions at what it cannot read
        raise _refused(grammar, f"it is neither Lark's form nor GBNF: {error}") from error


def _parsed(grammar: Grammar) -> Any:
    try:
        return json.loads(grammar.source)
    except (ValueError, RecursionError) as error:
        raise _refused(grammar, f"it is no JSON: {error}") from error


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        nested = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list)]
        level = [each for values in nested for each in values]
    return bool(level)


def _before(lead: Lead) -> str:
    """Return the rules of what stands before the answer, which they call @answer; none where nothing may."""
    marks, ids = lead.marks, dict(lead.mark_ids)
    blank = "BLANK?" if lead.has_blank else ""
    rules = ['BLANK: " "'] if blank else []
    block = ""
    if marks is not None and (lead.is_thinking or marks.opening):
        closing = marked(marks.closing, ids, ids)
        if begins_with_a_token(marks.closing, ids):
            rules += [f"thought: TEXT? {closing}", "TEXT: /(?s:.+)/"]
        else:
            rules.append(f"thought[suffix={json.dumps(marks.closing, ensure_ascii=False)}]: /(?s:.*)/")
        rules.append(f"SPACE: /{SPACE}{{1,40}}/")
        block = "thought SPACE?" if lead.is_thinking else f"({marked(marks.opening, ids, ids)} thought SPACE?)?"
    if not blank and not block and not lead.opening:
        return ""
    return "\n".join(
        [" ".join(filter(None, ("start:", blank, block, marked(lead.opening, ids, ids), "@answer"))), *rules]
    )


def _refused(grammar: Grammar, why: str) -> InvalidRequestError:
    return InvalidRequestError(f"the {grammar.kind} of this request cannot be used: {why}", param=param_of(grammar))
