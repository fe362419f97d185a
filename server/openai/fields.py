"""What every object of a request's JSON has in common: null stands for a field's default, and which fields it knows.

Knows nothing about what the fields mean.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator

from coe.errors import InvalidRequestError, shown
from server.bodies import refuse_unknown

__all__ = ["FromJson", "KnownFields"]


class FromJson(BaseModel):
    """A JSON object of a request: null stands for a field's default."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _take_null_for_the_default(cls, raw: Any) -> Any:
        return {name: value for name, value in raw.items() if value is not None} if isinstance(raw, dict) else raw


class KnownFields(FromJson):
    """An object that refuses a field it does not know, by name.

    `field_name` is what the body calls the object, empty for the body itself. `harmless` fields change no answer;
    `neutral` ones are accepted only at these values, or at null.
    """

    field_name: ClassVar[str] = ""
    harmless: ClassVar[Collection[str]] = ()
    neutral: ClassVar[Mapping[str, tuple[Any, ...]]] = {}

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, raw: Any) -> Any:
        if isinstance(raw, dict):
            known = {field.alias or name for name, field in cls.model_fields.items()}
            refuse_unknown(raw, {*known, *cls.harmless, *cls.neutral}, cls.field_name)
            for name, values in cls.neutral.items():
                if (value := raw.get(name)) is not None and value not in values:
                    raise InvalidRequestError(f"{name} = {shown(value)} is not supported; leave it out", param=name)
        return raw
