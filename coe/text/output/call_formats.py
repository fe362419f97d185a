"""The forms in which the families write calls of tools: what a call begins and ends with, and who reads it.

`CALL_FORMATS` is the table; answer_form.py says whose form is which. Knows nothing about templates and streams.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from coe.text.output.call_texts import Reader, deepseek, invoked, json_in, kimi, llama_3, mistral, pythonic, tagged

__all__ = ["CALL_FORMATS", "Block", "CallFormat", "CallFormatName"]

CallFormatName = Literal[
    "hermes",
    "qwen3-coder",
    "glm",
    "llama-3",
    "pythonic",
    "mistral",
    "granite",
    "phi-4",
    "deepseek",
    "command-r",
    "harmony",
    "seed",
    "minimax",
    "deepseek-3.2",
    "kimi",
    "jamba",
    "nemotron",
    "internlm",
    "json",
]
End = Literal["json", "answer"]


@dataclass(frozen=True, slots=True)
class Block:
    """A run of text with calls in it.

    It ends with `closing`, else with the JSON value that begins with it (`ends_with` "json") or with the answer. With
    `is_first` it may only stand where the answer begins, or after another one.
    """

    opening: str
    read: Reader
    closing: str = ""
    ends_with: End = "answer"
    is_first: bool = False


@dataclass(frozen=True, slots=True)
class CallFormat:
    """One family's form. `tokens` are its marks; where they are special tokens they never reach a client as text."""

    blocks: tuple[Block, ...]
    tokens: tuple[str, ...] = ()


_TAGS = (
    Block("<tool_call>", tagged, "</tool_call>"),
    Block("<function=", tagged, "</function>"),
)
_BARE = Block("{", json_in, ends_with="json", is_first=True)
_FENCED = (Block("Action:\n```json", json_in, "```"), Block("```json", json_in, "```"))
_MARKED = (
    Block("<|tool_call|>", json_in),
    Block("<tool_call>", json_in, "</tool_call>"),
)
_DEEPSEEK = (
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁call▁begin｜>",
    "<｜tool▁sep｜>",
    "<｜tool▁call▁end｜>",
    "<｜tool▁calls▁end｜>",
)
_TAG_TOKENS = ("<tool_call>", "</tool_call>")
_KIMI = (
    "<|tool_calls_section_begin|>",
    "<|tool_call_begin|>",
    "<|tool_call_argument_begin|>",
    "<|tool_call_end|>",
    "<|tool_calls_section_end|>",
)


def _between(opening: str, closing: str, read: Reader = json_in, *others: str) -> CallFormat:
    return CallFormat((Block(opening, read, closing),), (opening, closing, *others))


CALL_FORMATS: Mapping[CallFormatName, CallFormat] = {
    "hermes": CallFormat(_TAGS, _TAG_TOKENS),
    "qwen3-coder": CallFormat(_TAGS, _TAG_TOKENS),
    "glm": CallFormat(_TAGS, (*_TAG_TOKENS, "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>")),
    "llama-3": CallFormat(
        (Block("<|python_tag|>", llama_3), Block("<function=", tagged, "</function>"), _BARE), ("<|python_tag|>",)
    ),
    "pythonic": CallFormat(
        (
            Block("<|python_start|>", pythonic, "<|python_end|>"),
            Block("<|tool_call_start|>", pythonic, "<|tool_call_end|>"),
            Block("[", pythonic, is_first=True),
        ),
        ("<|python_start|>", "<|python_end|>", "<|tool_call_start|>", "<|tool_call_end|>"),
    ),
    "mistral": CallFormat((Block("[TOOL_CALLS]", mistral),), ("[TOOL_CALLS]", "[ARGS]", "[CALL_ID]")),
    "granite": CallFormat(_MARKED, ("<|tool_call|>", *_TAG_TOKENS)),
    "phi-4": CallFormat(
        (Block("<|tool_call|>", json_in, "<|/tool_call|>"), Block("functools[", json_in)),
        ("<|tool_call|>", "<|/tool_call|>"),
    ),
    "deepseek": CallFormat((Block(_DEEPSEEK[0], deepseek), Block(_DEEPSEEK[1], deepseek)), _DEEPSEEK),
    "command-r": CallFormat(
        (Block("<|START_ACTION|>", json_in, "<|END_ACTION|>"),), ("<|START_ACTION|>", "<|END_ACTION|>")
    ),
    "harmony": CallFormat(
        (), ("<|start|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|end|>", "<|call|>", "<|return|>")
    ),
    "seed": _between("<seed:tool_call>", "</seed:tool_call>", tagged),
    "minimax": _between("<minimax:tool_call>", "</minimax:tool_call>", invoked),
    "deepseek-3.2": CallFormat(
        tuple(Block(f"<｜DSML｜{name}>", invoked, f"</｜DSML｜{name}>") for name in ("function_calls", "tool_calls")),
        ("｜DSML｜",),
    ),
    "kimi": CallFormat((Block(_KIMI[0], kimi), Block(_KIMI[1], kimi)), _KIMI),
    "jamba": _between("<tool_calls>", "</tool_calls>"),
    "nemotron": _between("<TOOLCALL>", "</TOOLCALL>"),
    "internlm": _between("<|action_start|>", "<|action_end|>", json_in, "<|plugin|>"),
    "json": CallFormat((_BARE, *_FENCED, Block("[", json_in, ends_with="json", is_first=True))),
}
