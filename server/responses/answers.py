"""OpenAI's responses: output items, whole or as the events of a stream, which are numbered.

What an expert thinks is an item of type `reasoning`, shown whole in its `content`. Knows nothing about HTTP, nor about
what is kept of a response.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from coe.types import Delta, Finished, FinishReason, GenerateEvent, Routed
from server.decisions import coe_object
from server.failures import Failure
from server.generation.parts import Part, Parts, Step
from server.openai.logprobs import chat_logprobs
from server.responses.requests import ResponseRequest

__all__ = ["ResponseAnswer"]

ID_PREFIX = "resp"
_ITEM_PREFIXES = {"thinking": "rs", "text": "msg", "call": "fc"}
_FAILURE_CODES = {429: "rate_limit_exceeded", 400: "invalid_prompt"}  # others are `server_error`


class ResponseAnswer:
    """POST /v1/responses. `keep` is called once with the response that came to its end."""

    names_events, last_line = True, ""

    def __init__(
        self, request_id: str, asked: ResponseRequest, routed: Routed, keep: Callable[[dict[str, Any]], None]
    ) -> None:
        self._name, self._asked, self._routed, self._keep = request_id, asked, routed, keep
        self._created_s = int(time.time())
        self._parts = Parts()
        self._end: Finished | None = None
        self._num_events = 0

    def take(self, event: GenerateEvent) -> None:
        for _ in self._steps(event):
            pass

    def whole(self) -> dict[str, Any]:
        assert self._end is not None
        is_cut = self._end.reason is FinishReason.LENGTH
        body = {
            **self._body("incomplete" if is_cut else "completed"),
            "completed_at": None if is_cut else int(time.time()),
            "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
            "usage": _usage(self._end),
            "coe": coe_object(self._routed, self._end.switch, explains=self._asked.coe.explain),
        }
        self._keep(body)
        return body

    def opening(self, routed: Routed) -> Iterator[dict[str, Any]]:
        self._routed = routed
        for what in ("created", "in_progress"):
            yield self._event(f"response.{what}", response=self._body("in_progress"))

    def chunks(self, event: GenerateEvent) -> Iterator[dict[str, Any]]:
        for step in self._steps(event):
            yield from self._said(step)

    def closing(self) -> Iterator[dict[str, Any]]:
        body = self.whole()
        yield self._event(f"response.{body['status']}", response=body)

    def failing(self, failure: Failure) -> Iterator[dict[str, Any]]:
        error = failure.body["error"]
        yield self._event("error", code=error["code"], message=error["message"], param=error["param"])
        code = _FAILURE_CODES.get(failure.status, "server_error")
        body = {**self._body("failed"), "error": {"code": code, "message": error["message"]}}
        yield self._event("response.failed", response=body)

    def _steps(self, event: GenerateEvent) -> Iterator[Step]:
        match event:
            case Delta():
                yield from self._parts.take(event)
            case Finished():
                self._end = event
                yield from self._parts.end()

    def _event(self, kind: str, **fields: Any) -> dict[str, Any]:
        self._num_events += 1
        return {"type": kind, "sequence_number": self._num_events - 1, **fields}

    def _said(self, step: Step) -> Iterator[dict[str, Any]]:
        """Yield the events of a step."""
        part, at = step.part, {"output_index": step.part.index}
        inside: dict[str, Any] = {"item_id": self._item_id(part), **at}
        if part.kind != "call":
            inside["content_index"] = 0
        match step.what:
            case "began":
                yield self._event("response.output_item.added", **at, item=self._item(part, "in_progress"))
                if part.kind != "call":
                    yield self._event("response.content_part.added", **inside, part=_content(part))
            case "grew":
                logprobs = {"logprobs": chat_logprobs(step.tokens)} if part.kind == "text" else {}
                yield self._event(f"response.{_EVENTS[part.kind]}.delta", **inside, delta=step.text, **logprobs)
            case "ended":
                yield self._event(f"response.{_EVENTS[part.kind]}.done", **inside, **_done(part))
                if part.kind != "call":
                    yield self._event("response.content_part.done", **inside, part=_content(part))
                yield self._event("response.output_item.done", **at, item=self._item(part, self._status(part)))

    def _item_id(self, part: Part) -> str:
        return f"{_ITEM_PREFIXES[part.kind]}_{self._name}_{part.index}"

    def _status(self, part: Part) -> str:
        """Return whether a part that has ended was cut: the last one of an answer that was."""
        is_last = part is self._parts.parts[-1]
        is_cut = self._end is not None and self._end.reason is FinishReason.LENGTH
        return "incomplete" if is_cut and is_last else "completed"

    def _item(self, part: Part, status: str) -> dict[str, Any]:
        item = {"id": self._item_id(part), "status": status}
        contents = [] if status == "in_progress" else [_content(part)]
        match part.kind:
            case "thinking":
                return {"type": "reasoning", **item, "summary": [], "content": contents}
            case "text":
                return {"type": "message", **item, "role": "assistant", "content": contents}
            case "call":
                called = {"call_id": part.call_id, "name": part.name, "arguments": part.text}
                return {"type": "function_call", **item, **called}

    def _body(self, status: str) -> dict[str, Any]:
        """Return the response without its end: what was asked for is given back."""
        asked = self._asked
        text_format = asked.text.format
        return {
            "id": f"{ID_PREFIX}_{self._name}",
            "object": "response",
            "created_at": self._created_s,
            "completed_at": None,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": asked.instructions,
            "max_output_tokens": asked.max_output_tokens,
            "metadata": asked.metadata,
            "model": self._routed.decision.expert,
            "output": [self._item(part, self._status(part)) for part in self._parts.parts],
            "parallel_tool_calls": asked.parallel_tool_calls,
            "previous_response_id": asked.previous_response_id,
            "reasoning": {"effort": asked.reasoning.effort, "summary": None},
            "store": asked.store,
            "temperature": asked.temperature,
            "text": {"format": {"type": "text"} if text_format is None else _given(text_format)},
            "tool_choice": asked.tool_choice,
            "tools": [each.model_dump() for each in asked.tools],
            "top_logprobs": asked.top_logprobs,
            "top_p": asked.top_p,
            "truncation": "disabled",
            "usage": None,
            "coe": coe_object(self._routed, self._routed.switch, explains=asked.coe.explain),
        }


_EVENTS = {"thinking": "reasoning_text", "text": "output_text", "call": "function_call_arguments"}


def _content(part: Part) -> dict[str, Any]:
    if part.kind == "thinking":
        return {"type": "reasoning_text", "text": part.text}
    return {"type": "output_text", "text": part.text, "annotations": [], "logprobs": chat_logprobs(part.tokens)}


def _done(part: Part) -> dict[str, Any]:
    if part.kind == "call":
        return {"name": part.name, "arguments": part.text}
    return {"text": part.text} | ({"logprobs": chat_logprobs(part.tokens)} if part.kind == "text" else {})


def _given(text_format: Any) -> dict[str, Any]:
    given: dict[str, Any] = text_format.model_dump(by_alias=True, exclude_none=True)
    return given


def _usage(end: Finished) -> dict[str, Any]:
    usage = end.usage
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
