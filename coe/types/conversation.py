"""What a conversation is made of: turns, the tools that a request offers, calls of them, and forms for the answer.

Everything here is frozen. The shapes are those that every dialect (OpenAI's, Anthropic's) and every chat template can
be written from. Knows nothing about HTTP, templates or tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = [
    "CallDelta",
    "Grammar",
    "GrammarKind",
    "Message",
    "PromptForm",
    "ThoughtMarks",
    "Tool",
    "ToolCall",
    "ToolChoice",
]

GrammarKind = Literal["json_object", "json_schema", "regex", "lark", "choice", "calls"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool by an assistant. `arguments` is JSON text, as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    `content` is empty where an assistant's turn only calls tools. `thinking` is what the assistant thought before it
    answered; the router never reads it. A turn of role "tool" has what the call `tool_call_id` returned.
    """

    role: str
    content: str
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call. `parameters` is a JSON schema of its arguments, an object's."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    is_strict: bool = False


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Whether the model may call tools ("auto"), may not ("none"), or must ("required"): `name`, if it has one.

    `allowed` are the names that may be called where not all may; empty: all.
    """

    mode: Literal["none", "auto", "required"] = "auto"
    name: str | None = None
    allowed: tuple[str, ...] = ()

    def may_call(self, name: str) -> bool:
        if self.mode == "none" or (self.name is not None and name != self.name):
            return False
        return not self.allowed or name in self.allowed


@dataclass(frozen=True, slots=True)
class CallDelta:
    """A piece of a call in an answer: the first of call `index` has its id and name, later ones add `arguments`."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class PromptForm:
    """How a conversation ends as a prompt: with the opening of an answer (`begins_answer`), or in the middle of its
    last turn (`continues_last`). `adds_special_tokens` (None: as the endpoint does) puts the tokenizer's own around."""

    begins_answer: bool = True
    continues_last: bool = False
    adds_special_tokens: bool | None = None


@dataclass(frozen=True, slots=True)
class Grammar:
    """The form that an answer must have; what the model thinks before it is free.

    `source` is a JSON schema as JSON text ("json_schema"), a regular expression, a grammar in Lark's form, or a JSON
    list of texts ("choice"); it is empty for "json_object". "calls" is a grammar in Lark's form too, of all that an
    expert writes where it calls tools.
    """

    kind: GrammarKind
    source: str = ""


@dataclass(frozen=True, slots=True)
class ThoughtMarks:
    """How a model writes what it thinks: between these two texts, each perhaps a token of its own."""

    opening: str
    closing: str
