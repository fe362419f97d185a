"""What a request over HTTP was answered with, whole or as server-sent events: read, and checked to be one answer."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import httpx

__all__ = ["check_answered_once", "is_stream", "stream_events", "texts_of"]


def is_stream(answer: httpx.Response) -> bool:
    return answer.headers["content-type"].startswith("text/event-stream")


def stream_events(text: str) -> list[dict[str, Any]]:
    """The JSON objects of a stream; comments and [DONE] have none."""
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def texts_of(answer: httpx.Response) -> dict[int, str]:
    """The text of every choice."""
    bodies = stream_events(answer.text) if is_stream(answer) else [answer.json()]
    found: dict[int, str] = {}
    for choice in (choice for body in bodies for choice in body["choices"]):
        said = choice.get("message") or choice.get("delta") or {"content": choice.get("text")}
        found[choice["index"]] = found.get(choice["index"], "") + (said.get("content") or "")
    return found


def check_answered_once(answer: httpx.Response, num_choices: int = 1) -> str:
    """Return the code of the answer's error, "ok" without one.

    Raises AssertionError unless it is a whole answer or an error; or a stream with one end for each choice or with one
    error, and nothing after it.
    """
    if not is_stream(answer):
        if answer.status_code == 200:
            return "ok"
        error = answer.json()["error"]
        assert error["message"], error
        return str(error["code"])
    events = stream_events(answer.text)
    errors = [event["error"] for event in events if "error" in event]
    ends = Counter(
        choice["index"] for event in events for choice in event.get("choices", ()) if choice["finish_reason"]
    )
    assert answer.text.count("data: [DONE]") <= 1, answer.text
    if errors:
        assert len(errors) == 1, answer.text
        assert "error" in events[-1], answer.text
        return str(errors[0]["code"])
    assert ends == dict.fromkeys(range(num_choices), 1), answer.text
    assert answer.text.endswith("data: [DONE]\n\n"), answer.text
    return "ok"
