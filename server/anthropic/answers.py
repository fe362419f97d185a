"""Anthropic's answers: a message of content blocks, whole or as the events of its stream.

What an expert thinks is a `thinking` block, whose signature is empty: nobody checks it. Knows nothing about HTTP.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from coe.types import Delta, Finished, FinishReason, GenerateEvent, Routed
from server.anthropic.errors import error_object
from server.anthropic.requests import MessageRequest
from server.decisions import coe_object
from server.failures import Failure
from server.generation.parts import Part, Parts, Step
from server.request_log import current_record

__all__ = ["MessageAnswer"]

ID_PREFIX = "msg"


class MessageAnswer:
    """POST /v1/messages."""

    names_events, last_line = True, ""

    def __init__(self, request_id: str, asked: MessageRequest, routed: Routed) -> None:
        self._id = f"{ID_PREFIX}_{request_id}"
        self._routed, self._asked = routed, asked
        self._parts = Parts()
        self._end: Finished | None = None

    def take(self, event: GenerateEvent) -> None:
        for _ in self.chunks(event):
            pass

    def whole(self) -> dict[str, Any]:
        assert self._end is not None
        blocks = [_block(part) for part in self._parts.parts if not self._hides(part)]
        end = {**_stop(self._end), "usage": _usage(self._end), "coe": self._coe(self._end)}
        return {**self._message(), "content": blocks, **end}

    def opening(self, routed: Routed) -> Iterator[dict[str, Any]]:
        begun = {"stop_reason": None, "stop_sequence": None, "usage": _counts(routed.prompt_tokens, 0, 0)}
        yield {"type": "message_start", "message": {**self._message(), "content": [], **begun, "coe": self._coe(None)}}
        yield {"type": "ping"}

    def chunks(self, event: GenerateEvent) -> Iterator[dict[str, Any]]:
        match event:
            case Delta():
                for step in self._parts.take(event):
                    yield from self._chunk(step)
            case Finished():
                self._end = event
                for step in self._parts.end():
                    yield from self._chunk(step)

    def closing(self) -> Iterator[dict[str, Any]]:
        assert self._end is not None
        delta = {"type": "message_delta", "delta": _stop(self._end), "usage": _usage(self._end)}
        yield {**delta, "coe": self._coe(self._end)}
        yield {"type": "message_stop"}

    def failing(self, failure: Failure) -> Iterator[dict[str, Any]]:
        record = current_record()
        yield error_object(failure, record.id if record else "")

    def _message(self) -> dict[str, Any]:
        return {"id": self._id, "type": "message", "role": "assistant", "model": self._routed.decision.expert}

    def _coe(self, end: Finished | None) -> dict[str, Any]:
        switch = self._routed.switch if end is None else end.switch
        return coe_object(self._routed, switch, explains=self._asked.coe.explain)

    def _hides(self, part: Part) -> bool:
        return part.kind == "thinking" and self._asked.hides_thoughts

    def _chunk(self, step: Step) -> Iterator[dict[str, Any]]:
        """Yield what is said of a step. Where thoughts are hidden, the place of their block is left out."""
        part = step.part
        if self._hides(part):
            return
        at = {"index": sum(not self._hides(each) for each in self._parts.parts[: part.index])}
        match step.what:
            case "began":
                yield {"type": "content_block_start", **at, "content_block": _begun(part)}
            case "grew":
                yield {"type": "content_block_delta", **at, "delta": _delta(part, step.text)}
            case "ended":
                if part.kind == "thinking":
                    signed = {"type": "signature_delta", "signature": ""}
                    yield {"type": "content_block_delta", **at, "delta": signed}
                yield {"type": "content_block_stop", **at}


def _block(part: Part) -> dict[str, Any]:
    block = _begun(part)
    if part.kind == "call":
        return {**block, "input": json.loads(part.text or "{}")}
    return {**block, part.kind: part.text}


def _begun(part: Part) -> dict[str, Any]:
    match part.kind:
        case "thinking":
            return {"type": "thinking", "thinking": "", "signature": ""}
        case "call":
            return {"type": "tool_use", "id": part.call_id, "name": part.name, "input": {}}
        case _:
            return {"type": "text", "text": "", "citations": None}


def _delta(part: Part, text: str) -> dict[str, Any]:
    if part.kind == "call":
        return {"type": "input_json_delta", "partial_json": text}
    return {"type": f"{part.kind}_delta", part.kind: text}


def _stop(end: Finished) -> dict[str, Any]:
    """Return why an answer ended. Calls count before the stop sequence after them."""
    if end.reason is FinishReason.STOP and end.stop_string is not None:
        return {"stop_reason": "stop_sequence", "stop_sequence": end.stop_string}
    reasons = {FinishReason.LENGTH: "max_tokens", FinishReason.TOOL_CALLS: "tool_use"}
    return {"stop_reason": reasons.get(end.reason, "end_turn"), "stop_sequence": None}


def _usage(end: Finished) -> dict[str, Any]:
    usage = end.usage
    counts = _counts(usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens)
    return {**counts, "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens}}


def _counts(prompt_tokens: int, cached_tokens: int, completion_tokens: int) -> dict[str, int]:
    """Anthropic counts the prompt's tokens that were read from a cache apart from `input_tokens`."""
    return {
        "input_tokens": prompt_tokens - cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached_tokens,
        "output_tokens": completion_tokens,
    }
