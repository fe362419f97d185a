"""Request bodies: JSON within a size and a time, checked against a model; what is wrong becomes a RequestError."""

from __future__ import annotations

import asyncio
import gc
import json
import math
import re
from collections.abc import Iterable
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from coe.errors import (
    MAX_SHOWN_CHARS,
    CancelledError,
    InvalidRequestError,
    SlowRequestError,
    TooLargeError,
    nearest,
    shown,
)
from coe.text.length_bound import LengthBound

__all__ = ["BodyReader", "check_num_messages", "refuse_unknown", "validated"]

ModelT = TypeVar("ModelT", bound=BaseModel)
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")


class BodyReader:
    """Reads bodies as JSON, whatever their content type says: `curl -d` sends a form's."""

    def __init__(self, max_bytes: int, timeout_s: float) -> None:
        self._max_bytes, self._timeout_s = max_bytes, timeout_s

    async def __call__(self, request: Request) -> Any:
        """Return the JSON value, in which lone surrogates are U+FFFD.

        Raises TooLargeError, SlowRequestError, CancelledError for a client that leaves, InvalidRequestError for what is
        no JSON (RFC 8259: UTF-8, no NaN).
        """
        body = await self._read(request)
        try:
            text = body.decode("utf-8")
            value = _parsed(text)
            return _without_surrogates(value) if _ESCAPED_SURROGATE.search(text) else value
        except (ValueError, RecursionError) as error:
            raise InvalidRequestError(f"the body is not JSON: {_cause(error)}") from error

    async def _read(self, request: Request) -> bytearray:
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self._max_bytes:
            raise self._too_large()
        body = bytearray()
        try:
            async with asyncio.timeout(self._timeout_s):
                async for piece in request.stream():
                    body += piece
                    if len(body) > self._max_bytes:
                        raise self._too_large()
        except TimeoutError:
            raise SlowRequestError(
                f"the body did not arrive within {self._timeout_s:g} s ([server] body_timeout_s); send it faster"
            ) from None
        except ClientDisconnect:
            raise CancelledError("the client closed the connection while it sent the body") from None
        return body

    def _too_large(self) -> TooLargeError:
        return TooLargeError(f"the body is larger than {self._max_bytes:,} bytes ([server] max_body_bytes); send less")


def validated(kind: type[ModelT], body: Any) -> ModelT:
    """Return the request in a JSON body; raises InvalidRequestError that names the first wrong field and its value."""
    if not isinstance(body, dict):
        raise InvalidRequestError(f"the body must be a JSON object, not {type(body).__name__}")
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part)[:MAX_SHOWN_CHARS] for part in first["loc"])
        said = f"{where or 'body'}: {first['msg']}"
        message = said if not first["loc"] or first["type"] == "missing" else f"{said} (got {shown(first['input'])})"
        raise InvalidRequestError(message, param=str(first["loc"][0]) if first["loc"] else None) from error


def refuse_unknown(fields: Iterable[str], known: Iterable[str], where: str = "") -> None:
    """Raise InvalidRequestError for the first field that is not known, with the known one that is nearest to it.

    `where` names the object that has the fields, if it is not the body itself.
    """
    allowed = set(known)
    for name in fields:
        if name not in allowed:
            inside = f" in {where}" if where else ""
            raise InvalidRequestError(
                f"unknown field {shown(name)}{inside}; {nearest(name[:MAX_SHOWN_CHARS], allowed, 'known fields')}",
                param=where or name[:MAX_SHOWN_CHARS],
            )


def check_num_messages(body: Any, most: int, field: str = "messages") -> None:
    """Raise ContextLengthError for a body with more messages in `field` than `most`, the tokens of the longest context.

    To be called before the body is validated, which takes seconds for 200,000 messages.
    """
    messages = body.get(field) if isinstance(body, dict) else None
    if isinstance(messages, list):
        LengthBound(most, math.inf).check(len(messages), 0, "the roomiest expert")


def _parsed(text: str) -> Any:
    """Return the JSON value. The garbage collector would look at millions of small lists again and again meanwhile."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return json.loads(text, parse_constant=_no_number)
    finally:
        if was_enabled:
            gc.enable()


def _without_surrogates(value: Any) -> Any:
    """Return a JSON value whose texts UTF-8 can write (an escape such as \\\\ud83d stands for half a character)."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(name): _without_surrogates(item) for name, item in value.items()}
    return value


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _cause(error: Exception) -> str:
    """Return why a body is no JSON, without what is in it."""
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 at byte {error.start}"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
