"""OpenAI's small objects: usage, a model in the list of models, an error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coe.config.schema import COMPOSITION
from coe.statuses import ExpertStatus
from coe.types import Finished

__all__ = ["composition_object", "error_body", "model_object", "usage_object"]


def usage_object(ends: Sequence[Finished], num_choices: int) -> dict[str, Any]:
    """Token counts of a request: each prompt once, the completions of all choices together.

    `ends` are those of the first prompt's choices, then of the next one's; each prompt has `num_choices`.

    `cached_tokens` are those of the prompt that no choice computed: what one choice computed and the others copied is
    not cached.
    """
    firsts = range(0, len(ends), num_choices)
    prompt = sum(ends[at].usage.prompt_tokens for at in firsts)
    cached = sum(min(end.usage.cached_tokens for end in ends[at : at + num_choices]) for at in firsts)
    completion = sum(end.usage.completion_tokens for end in ends)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": sum(end.usage.reasoning_tokens for end in ends)},
    }


def composition_object(created_s: int, longest_context: int) -> dict[str, Any]:
    """The composition in the list of models; `created_s` is Unix time, the context in tokens."""
    described = "the router chooses the expert"
    return {**_model(COMPOSITION, created_s), **_facts("composition", longest_context, described)}


def model_object(expert: ExpertStatus, created_s: int) -> dict[str, Any]:
    """An expert in the list of models; `created_s` is Unix time, `max_model_len` its context in tokens."""
    return {
        **_model(expert.name, created_s),
        **_facts(expert.kind, expert.context, expert.description),
        "aliases": list(expert.aliases),
        "backend": expert.backend,
        "num_parameters": expert.num_parameters,
        "size_bytes": expert.size_bytes,
    }


def _model(name: str, created_s: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created_s, "owned_by": "coe"}


def _facts(kind: str, context: int, description: str) -> dict[str, Any]:
    return {"kind": kind, "max_model_len": context, "description": description}


def error_body(message: str, kind: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
