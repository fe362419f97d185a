"""The form that a request asks its answer to have: OpenAI's `response_format`, and vLLM's names for the same.

Owns the fields, and that a request may ask for one form alone. Whether a schema or a grammar can be kept to is found
out when it is compiled (coe/grammar). Schemas need not follow OpenAI's rules for strict ones, and are kept to whether
`strict` is set or not.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field

from coe.errors import InvalidRequestError, shown
from coe.types import Grammar
from server.openai.fields import KnownFields

__all__ = ["AskedForm"]

Schema = dict[str, Any] | str


class JsonSchemaFormat(KnownFields):
    """A schema with its name, in a response_format."""

    field_name: ClassVar[str] = "response_format"

    name: str | None = None
    description: str | None = None
    strict: bool | None = None
    schema_: dict[str, Any] = Field(default_factory=dict, alias="schema")


class ResponseFormat(KnownFields):
    """OpenAI's way to ask for a form."""

    field_name: ClassVar[str] = "response_format"

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaFormat | None = None

    def grammar(self) -> Grammar | None:
        if self.type == "json_schema":
            if self.json_schema is None:
                raise InvalidRequestError(
                    "response_format of type 'json_schema' needs json_schema with a schema", param="response_format"
                )
            return Grammar("json_schema", json.dumps(self.json_schema.schema_))
        if self.json_schema is not None:
            raise InvalidRequestError(
                f"response_format has a json_schema, and its type is {shown(self.type)}; send type 'json_schema'",
                param="response_format",
            )
        return Grammar("json_object") if self.type == "json_object" else None


class StructuredOutputs(KnownFields):
    """vLLM's way to ask for a form."""

    field_name: ClassVar[str] = "structured_outputs"

    json_: Schema | None = Field(None, alias="json")
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None
    json_object: bool | None = None


class AskedForm(BaseModel):
    """The fields of a request that ask for a form."""

    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None
    guided_json: Schema | None = None
    guided_regex: str | None = None
    guided_choice: list[str] | None = None
    guided_grammar: str | None = None

    def grammar(self) -> Grammar | None:
        """Return the form that is asked for; raises InvalidRequestError, by their names, where it is more than one."""
        outputs = self.structured_outputs or StructuredOutputs.model_validate({})
        form = self.response_format
        asked = {
            "response_format": None if form is None else form.grammar(),
            "guided_json": _schema(self.guided_json),
            "guided_regex": _text("regex", self.guided_regex),
            "guided_choice": _choice(self.guided_choice),
            "guided_grammar": _text("lark", self.guided_grammar),
            "structured_outputs.json": _schema(outputs.json_),
            "structured_outputs.regex": _text("regex", outputs.regex),
            "structured_outputs.choice": _choice(outputs.choice),
            "structured_outputs.grammar": _text("lark", outputs.grammar),
            "structured_outputs.json_object": Grammar("json_object") if outputs.json_object else None,
        }
        found = {name: grammar for name, grammar in asked.items() if grammar is not None}
        if len(found) > 1:
            *_, last = found
            raise InvalidRequestError(
                f"{' and '.join(found)} each ask for a form of the answer; send one of them", param=last.split(".")[0]
            )
        return next(iter(found.values()), None)


def _schema(schema: Schema | None) -> Grammar | None:
    """Return the form of a schema, which vLLM takes as JSON text too."""
    if schema is None:
        return None
    return Grammar("json_schema", schema if isinstance(schema, str) else json.dumps(schema))


def _text(kind: Literal["regex", "lark"], source: str | None) -> Grammar | None:
    return None if source is None else Grammar(kind, source)


def _choice(texts: list[str] | None) -> Grammar | None:
    return None if texts is None else Grammar("choice", json.dumps(texts))
