"""The line below an answer: which expert gave it, why that one, and what it cost to switch to it."""

from __future__ import annotations

from coe.client import Answer
from coe.progress import in_mb
from coe.types import SwitchKind

__all__ = ["summary"]

KINDS = {SwitchKind.DEVICE_HIT: "device hit", SwitchKind.HOST_HIT: "host hit", SwitchKind.DISK_MISS: "disk miss"}


def summary(answer: Answer, decode_s: float) -> str:
    """Return the line; `decode_s` is the time from the first piece of the answer to the last."""
    return " · ".join([_who(answer), _switch(answer), *_speed(answer, decode_s)])


def _who(answer: Answer) -> str:
    confidence = "" if answer.confidence is None else f" at {answer.confidence:.2f}"
    category = "" if answer.category is None else f", category {answer.category}{confidence}"
    passed_over = ", ".join(f"{each.expert} ({each.reason})" for each in answer.decision.passed_over)
    return f"{answer.expert} ({answer.why}{category}{f', in place of {passed_over}' if passed_over else ''})"


def _switch(answer: Answer) -> str:
    if (kept := answer.cached) is not None:
        return f"a kept answer ({kept.kind}, {kept.age_s:.0f} s old)"
    cost = answer.switch
    moved = f", {in_mb(cost.loaded_bytes)} in {cost.load_s:.2f} s" if cost.loaded_bytes else ""
    return f"{KINDS[cost.kind]}{moved} · first token {cost.first_token_s:.2f} s"


def _speed(answer: Answer, decode_s: float) -> list[str]:
    if answer.usage is None:
        return []
    num_tokens = answer.usage.completion_tokens
    speed = f" at {(num_tokens - 1) / decode_s:.1f}/s" if num_tokens > 1 and decode_s > 0 else ""
    return [f"{num_tokens} tokens{speed}"]
