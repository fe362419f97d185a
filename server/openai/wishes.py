"""The `coe` object of a request: what only a composition can be asked for, the same in every dialect.

Knows nothing about how wishes are met: router/wishes.py, the scheduler and the engine do.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, TypedDict

from pydantic import BeforeValidator, Field, model_validator

from coe.config.schema import COMPOSITION
from coe.errors import InvalidRequestError
from server.openai.fields import KnownFields

__all__ = ["Wishes"]


def _never(value: Any) -> Any:
    return math.inf if value == -1 else value


class _Asked(TypedDict):
    exclude: tuple[str, ...]
    prefer: tuple[str, ...]
    deadline_s: float | None
    keep_alive_s: float | None


class Wishes(KnownFields):
    """`expert` answers, as if `model` named it; `keep_alive_s` of -1 is never. With `explain` the answer's `coe` object
    has the whole decision."""

    field_name: ClassVar[str] = "coe"

    expert: str | None = None
    exclude: tuple[str, ...] = ()
    prefer: tuple[str, ...] = ()
    deadline_s: float | None = Field(default=None, gt=0, le=86_400)
    keep_alive_s: Annotated[float, Field(ge=0), BeforeValidator(_never)] | None = None
    explain: bool = False

    @model_validator(mode="before")
    @classmethod
    def _refuse_priority(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and raw.get("priority") is not None:
            raise InvalidRequestError("coe.priority is not supported yet; leave it out", param="coe")
        return raw

    @property
    def asked(self) -> _Asked:
        """The fields of a GenerateRequest that say the same."""
        return {
            "exclude": self.exclude,
            "prefer": self.prefer,
            "deadline_s": self.deadline_s,
            "keep_alive_s": self.keep_alive_s,
        }

    def expert_beside(self, name: str) -> str | None:
        """Return who is asked for, by `model` or here, None for the composition; raises InvalidRequestError where they
        differ."""
        model = None if name.lower() == COMPOSITION else name
        if model is not None and self.expert is not None and model.lower() != self.expert.lower():
            raise InvalidRequestError(
                f"model names {model!r} and coe.expert {self.expert!r}; name one of them", param="coe"
            )
        return model or self.expert
