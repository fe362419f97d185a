"""OpenAI's small objects: usage, a model in the list of models, an error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coe.types import Finished

__all__ = ["error_body", "model_object", "usage_object"]


def usage_object(ends: Sequence[Finished]) -> dict[str, Any]:
    """Token counts of a request: its prompt once, the completions of all choices together.

    `cached_tokens` are those of the prompt that no choice computed: what one choice computed and the others copied is
    not cached.
    """
    prompt = ends[0].usage.prompt_tokens
    completion = sum(end.usage.completion_tokens for end in ends)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": min(end.usage.cached_tokens for end in ends)},
        "completion_tokens_details": {"reasoning_tokens": sum(end.usage.reasoning_tokens for end in ends)},
    }


def model_object(name: str, created_s: int) -> dict[str, Any]:
    """A model in the list of models; `created_s` is Unix time."""
    return {"id": name, "object": "model", "created": created_s, "owned_by": "coe"}


def error_body(message: str, kind: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
