"""Request bodies: JSON within a size limit, checked against a model; what is wrong becomes InvalidRequestError."""

from __future__ import annotations

import gc
import json
import math
import re
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from coe.errors import InvalidRequestError
from coe.text.length_bound import LengthBound

__all__ = ["BodyReader", "check_num_messages", "validated"]

ModelT = TypeVar("ModelT", bound=BaseModel)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # an escape of one half of a character, perhaps beside its other half


class BodyReader:
    """Reads bodies as JSON, whatever their content type says: `curl -d` sends a form's."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes

    async def __call__(self, request: Request) -> Any:
        """Return the JSON value; raises InvalidRequestError for a body that is too large or no JSON."""
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > self._max_bytes:
                raise InvalidRequestError(
                    f"the body is larger than {self._max_bytes:,} bytes ([server] max_body_bytes); send less"
                )
        try:
            value = _parsed(body)
            return value if _SURROGATE.search(body) is None else _without_lone_surrogates(value)
        except (ValueError, RecursionError) as error:
            raise InvalidRequestError(f"the body is not JSON: {error}") from error


def validated(kind: type[ModelT], body: Any) -> ModelT:
    """Return the request in a JSON body; raises InvalidRequestError that names the first wrong field and its value."""
    if not isinstance(body, dict):
        raise InvalidRequestError(f"the body must be a JSON object, not {type(body).__name__}")
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = f"{where or 'body'}: {first['msg']}" + (f" (got {_short(first['input'])})" if first["loc"] else "")
        raise InvalidRequestError(message, param=str(first["loc"][0]) if first["loc"] else None) from error


def check_num_messages(body: Any, most: int) -> None:
    """Raise ContextLengthError for a body of more messages than `most`, the tokens of the longest context.

    To be called before the body is validated, which takes seconds for 200,000 messages.
    """
    messages = body.get("messages") if isinstance(body, dict) else None
    if isinstance(messages, list):
        LengthBound(most, math.inf).check(len(messages), 0, "the roomiest expert")


def _parsed(body: bytearray) -> Any:
    """Return the JSON value. The garbage collector would look at millions of small lists again and again meanwhile."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return json.loads(body)
    finally:
        if was_enabled:
            gc.enable()


def _without_lone_surrogates(value: Any) -> Any:
    """Return the value with a question mark for each half of a character: JSON can write what UTF-8 cannot."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_without_lone_surrogates(key): _without_lone_surrogates(each) for key, each in value.items()}
    return [_without_lone_surrogates(each) for each in value] if isinstance(value, list) else value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
