"""OpenAI's answers to chats and completions: each takes a request's events and writes the whole answer, or its chunks.

Choices are told apart by `index`. Calls of tools and thoughts are in fields of their own. Log-probabilities have two
shapes: a list of objects in chat completions, parallel lists in the legacy completions. Knows nothing about HTTP or
server-sent events.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from coe.types import (
    CallDelta,
    Delta,
    Finished,
    FinishReason,
    GenerateEvent,
    PromptScored,
    Routed,
    Switch,
    TokenLogprob,
    ToolCall,
)
from server.decisions import coe_object
from server.failures import Failure
from server.openai.logprobs import chat_logprobs, completion_logprobs
from server.openai.objects import usage_object
from server.openai.requests import ChatRequest, CompletionRequest

__all__ = ["ChatAnswer", "CompletionAnswer"]


@dataclass(slots=True)
class _Choice:
    """One choice so far."""

    index: int
    text: str = ""
    thinking: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    tokens: list[TokenLogprob] = field(default_factory=list)
    end: Finished | None = None


@dataclass(frozen=True, slots=True)
class _Piece:
    """What one chunk adds to a choice; `tokens` is None where the request asked for no log-probabilities."""

    index: int
    text: str = ""
    thinking: str = ""
    calls: Sequence[CallDelta] = ()
    tokens: Sequence[TokenLogprob] | None = None
    offset: int = 0  # characters of the choice before this piece
    reason: FinishReason | None = None
    is_first: bool = False


class _Answer:
    """What the two kinds of answer share.

    An answer of one or more choices, and with a list of prompts of one or more requests.
    """

    names_events, last_line = False, "data: [DONE]\n\n"
    id_prefix: str
    whole_kind: str
    chunk_kind: str

    def __init__(
        self, request_id: str, asked: ChatRequest | CompletionRequest, routed: Routed, num_prompts: int = 1
    ) -> None:
        self._id = f"{self.id_prefix}-{request_id}"
        self._routed = {routed.index: routed}  # of each prompt's first choice
        self._num_each = asked.num_choices
        self._explains = asked.coe.explain
        self._includes_usage = asked.includes_usage
        self._created = int(time.time())
        self._has_logprobs = asked.num_logprobs is not None
        self._choices = [_Choice(index) for index in range(num_prompts * asked.num_choices)]

    def take(self, event: GenerateEvent) -> None:
        """Add an event to the answer."""
        match event:
            case Routed():
                self._routed[event.index] = event
            case PromptScored(tokens, index):
                self._choices[index].tokens += tokens
            case Delta():
                choice = self._choices[event.index]
                choice.text += event.text
                choice.thinking += event.thinking
                choice.tokens += event.logprobs
                if event.calls:
                    choice.calls = _joined(choice.calls, event.calls)
            case Finished():
                self._choices[event.index].end = event

    def whole(self) -> dict[str, Any]:
        """The answer, after every choice has ended."""
        choices = [self._whole_choice(choice) for choice in self._choices]
        first, ends = self._first, self._ends()
        body = {**self._head(self.whole_kind, choices, first), "usage": usage_object(ends, self._num_each)}
        coe = self._coe(first, ends[first.index].switch)
        if len(self._routed) > 1:
            coe["prompts"] = [self._coe(each, ends[at].switch) for at, each in sorted(self._routed.items())]
        return {**body, "coe": coe}

    def opening(self, routed: Routed) -> Iterator[dict[str, Any]]:
        """The first chunk of each choice of a prompt; the first of them has the decision."""
        self._routed[routed.index] = routed
        for index in range(routed.index, routed.index + self._num_each):
            chunk = self._chunk(_Piece(index, is_first=True))
            yield chunk if index > routed.index else {**chunk, "coe": self._coe(routed, routed.switch)}

    def chunks(self, event: GenerateEvent) -> Iterator[dict[str, Any]]:
        """The chunks that an event makes, none for one without content; takes the event, too."""
        match event:
            case Routed():  # of the next prompt of a list
                yield from self.opening(event)
            case Finished(reason, _, switch, index):
                chunk = self._chunk(_Piece(index, reason=reason))
                yield {**chunk, "coe": self._coe(self._routed_to(index), switch)}
            case Delta(text, _, index, logprobs, thinking, calls) if text or logprobs or thinking or calls:
                yield self._chunk(self._piece(index, text, logprobs, thinking, calls))
            case PromptScored(tokens, index):
                yield self._chunk(self._piece(index, self._routed_to(index).decision.text, tokens))
        self.take(event)

    def closing(self) -> Iterator[dict[str, Any]]:
        """The extra last chunk of a stream that asked for usage; it has no choices."""
        if self._includes_usage:
            yield {**self._head(self.chunk_kind, [], self._first), "usage": usage_object(self._ends(), self._num_each)}

    def failing(self, failure: Failure) -> Iterator[dict[str, Any]]:
        yield failure.body

    def _coe(self, routed: Routed, switch: Switch | None) -> dict[str, Any]:
        return coe_object(routed, switch, explains=self._explains)

    @property
    def _first(self) -> Routed:
        """The decision of the first prompt."""
        return self._routed[min(self._routed)]

    def _routed_to(self, index: int) -> Routed:
        """The decision that a choice belongs to."""
        return self._routed[index - index % self._num_each]

    def _piece(
        self,
        index: int,
        text: str,
        tokens: Sequence[TokenLogprob],
        thinking: str = "",
        calls: Sequence[CallDelta] = (),
    ) -> _Piece:
        if not self._has_logprobs:
            return _Piece(index, text, thinking, calls)
        offset = sum(len(token.text) for token in self._choices[index].tokens)
        return _Piece(index, text, thinking, calls, tokens, offset)

    def _chunk(self, piece: _Piece) -> dict[str, Any]:
        return self._head(self.chunk_kind, [self._chunk_choice(piece)], self._routed_to(piece.index))

    def _head(self, kind: str, choices: list[dict[str, Any]], routed: Routed) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": routed.decision.expert,
            "choices": choices,
        }

    def _ends(self) -> list[Finished]:
        ends = [choice.end for choice in self._choices if choice.end is not None]
        assert len(ends) == len(self._choices)
        return ends

    def _whole_choice(self, choice: _Choice) -> dict[str, Any]:
        raise NotImplementedError

    def _chunk_choice(self, piece: _Piece) -> dict[str, Any]:
        raise NotImplementedError


class ChatAnswer(_Answer):
    """POST /v1/chat/completions."""

    id_prefix, whole_kind, chunk_kind = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def __init__(self, request_id: str, asked: ChatRequest, routed: Routed, num_prompts: int = 1) -> None:
        super().__init__(request_id, asked, routed, num_prompts)
        self._names_tool = isinstance(asked.tool_choice, dict) and asked.tool_choice.get("type") == "function"

    def _reason(self, reason: FinishReason) -> str:
        """Return why an answer ended; OpenAI says "stop" where the request named the function."""
        return str(FinishReason.STOP if self._names_tool and reason is FinishReason.TOOL_CALLS else reason)

    def _whole_choice(self, choice: _Choice) -> dict[str, Any]:
        assert choice.end is not None
        return {
            "index": choice.index,
            "message": _message(choice),
            "logprobs": _logprobs_of(choice.tokens) if self._has_logprobs else None,
            "finish_reason": self._reason(choice.end.reason),
        }

    def _chunk_choice(self, piece: _Piece) -> dict[str, Any]:
        return {
            "index": piece.index,
            "delta": _delta(piece),
            "logprobs": None if piece.tokens is None else _logprobs_of(piece.tokens),
            "finish_reason": None if piece.reason is None else self._reason(piece.reason),
        }


class CompletionAnswer(_Answer):
    """POST /v1/completions. With `echo` the prompt comes first, as the expert was given it."""

    id_prefix, whole_kind, chunk_kind = "cmpl", "text_completion", "text_completion"

    def __init__(self, request_id: str, asked: CompletionRequest, routed: Routed, num_prompts: int = 1) -> None:
        super().__init__(request_id, asked, routed, num_prompts)
        self._echoes = bool(asked.echo)

    def _echo(self, index: int) -> str:
        return self._routed_to(index).decision.text if self._echoes else ""

    def _whole_choice(self, choice: _Choice) -> dict[str, Any]:
        assert choice.end is not None
        return {
            "index": choice.index,
            "text": self._echo(choice.index) + choice.text,
            "logprobs": completion_logprobs(choice.tokens, 0) if self._has_logprobs else None,
            "finish_reason": str(choice.end.reason),
        }

    def _chunk_choice(self, piece: _Piece) -> dict[str, Any]:
        is_echo = piece.is_first and not self._has_logprobs  # with logprobs the prompt comes with its own, later
        return {
            "index": piece.index,
            "text": self._echo(piece.index) if is_echo else piece.text,
            "logprobs": None if piece.tokens is None else completion_logprobs(piece.tokens, piece.offset),
            "finish_reason": _text(piece.reason),
        }


def _message(choice: _Choice) -> dict[str, Any]:
    """Return a choice as a message; its content is null where it does nothing but call tools."""
    content = None if choice.calls and not choice.text else choice.text
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
    if choice.thinking:
        message["reasoning_content"] = choice.thinking
    if choice.calls:
        message["tool_calls"] = [_call(call) for call in choice.calls]
    return message


def _delta(piece: _Piece) -> dict[str, Any]:
    delta: dict[str, Any] = {"role": "assistant"} if piece.is_first else {}
    if piece.thinking:
        delta["reasoning_content"] = piece.thinking
    if piece.calls:
        delta["tool_calls"] = [_call_piece(call) for call in piece.calls]
    if piece.text or piece.is_first or (piece.tokens and not piece.thinking and not piece.calls):
        delta["content"] = piece.text
    return delta


def _call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _call_piece(piece: CallDelta) -> dict[str, Any]:
    """Return a piece of a call: the first one has its id and name, later ones more of its arguments."""
    if not piece.name:
        return {"index": piece.index, "function": {"arguments": piece.arguments}}
    return {"index": piece.index, **_call(ToolCall(piece.id, piece.name, piece.arguments))}


def _joined(calls: Sequence[ToolCall], pieces: Sequence[CallDelta]) -> list[ToolCall]:
    joined = list(calls)
    for piece in pieces:
        if piece.index == len(joined):
            joined.append(ToolCall(piece.id, piece.name, ""))
        called = joined[piece.index]
        joined[piece.index] = replace(called, arguments=called.arguments + piece.arguments)
    return joined


def _logprobs_of(tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
    return {"content": chat_logprobs(tokens), "refusal": None}


def _text(reason: FinishReason | None) -> str | None:
    return None if reason is None else str(reason)
