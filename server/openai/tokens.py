"""POST /tokenize and POST /detokenize, in vLLM's shapes: the token ids that an expert would be given, and their text.

Token ids belong to one expert's vocabulary, so a request with ids names its expert. Knows nothing about how templates
and tokenizers work.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Request
from pydantic import Field

from coe.config.schema import COMPOSITION
from coe.errors import InvalidRequestError, shown
from coe.experts import ServedExpert
from coe.preparation import encode, query_of
from coe.runtime import Runtime
from coe.types import GenerateRequest
from server.access.caller import Caller, caller_of
from server.bodies import BodyReader, check_num_messages, validated
from server.openai.fields import KnownFields
from server.openai.requests import CompletionRequest
from server.openai.template_fields import prompt_form_of, template_variables_of
from server.openai.tools import ToolField, tools_of
from server.openai.turns import Turn, messages_of

__all__ = ["DetokenizeRequest", "TokenizeRequest", "encoded", "texts_of", "token_routes"]


class TokenizeRequest(KnownFields):
    """`prompt`, or `messages` as the expert's template writes them."""

    model: str = COMPOSITION
    prompt: str | None = None
    messages: list[Turn] | None = Field(None, min_length=1)
    tools: list[ToolField] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    continue_final_message: bool | None = None
    add_generation_prompt: bool | None = None
    add_special_tokens: bool | None = None
    return_token_strs: bool = False

    def generate_request(self) -> GenerateRequest:
        """Raises InvalidRequestError unless there is either a prompt or a conversation."""
        if (self.prompt is None) == (self.messages is None):
            raise InvalidRequestError("send prompt, or messages, and not both", param="prompt")
        expert = None if self.model.lower() == COMPOSITION else self.model
        messages = messages_of(self.messages or [])
        return GenerateRequest(
            uuid.uuid4().hex,
            messages,
            prompt=self.prompt,
            expert=expert,
            tools=tools_of(self.tools),
            template_variables=template_variables_of(self.chat_template_kwargs, None, None),
            prompt_form=prompt_form_of(
                messages, self.continue_final_message, self.add_generation_prompt, self.add_special_tokens
            ),
        )


class DetokenizeRequest(KnownFields):
    """`model` is an expert."""

    model: str
    tokens: list[Annotated[int, Field(ge=0)]] = Field(min_length=1)


def token_routes(runtime: Runtime, read_body: BodyReader) -> APIRouter:
    """Return the endpoints."""
    routes = APIRouter()

    @routes.post("/tokenize")
    async def tokenize(request: Request) -> dict[str, Any]:
        body = await read_body(request)
        check_num_messages(body, runtime.experts.longest_context)
        asked = validated(TokenizeRequest, body)
        expert, ids = await encoded(runtime, asked.generate_request(), caller_of(request))
        answer: dict[str, Any] = {
            "model": expert.loaded.name,
            "count": len(ids),
            "max_model_len": expert.text.context,
            "tokens": ids,
        }
        if asked.return_token_strs:
            answer["token_strs"] = [expert.text.tokenizer.id_to_token(each) for each in ids]
        return answer

    @routes.post("/detokenize")
    async def detokenize(request: Request) -> dict[str, Any]:
        asked = validated(DetokenizeRequest, await read_body(request))
        expert = _expert_of(runtime, asked.model, "tokens")
        return {"model": expert.loaded.name, "prompt": await runtime.text.run(expert.text.decode, asked.tokens)}

    return routes


class Encoded(NamedTuple):
    """The expert that would answer, and the tokens that it would be given."""

    expert: ServedExpert
    token_ids: Sequence[int]


async def encoded(runtime: Runtime, request: GenerateRequest, caller: Caller) -> Encoded:
    """Return the prompt of a request as its expert would be given it."""
    decision = await runtime.route(replace(query_of(request), owner=caller.owner, only_explains=True))
    expert = runtime.experts.find(decision.expert)
    return Encoded(expert, (await encode(runtime.text, expert.text, request, decision)).token_ids)


async def texts_of(runtime: Runtime, asked: CompletionRequest) -> Sequence[str]:
    """Return each prompt of a request as text; raises InvalidRequestError for ids without the name of their expert."""
    prompts = asked.prompts
    if all(isinstance(prompt, str) for prompt in prompts):
        return [prompt for prompt in prompts if isinstance(prompt, str)]
    expert = _expert_of(runtime, asked.model, "prompt").text

    def read() -> list[str]:
        return [each if isinstance(each, str) else expert.decode(expert.check_ids(each)) for each in prompts]

    return await runtime.text.run(read)


def _expert_of(runtime: Runtime, model: str, param: str) -> ServedExpert:
    if model.lower() == COMPOSITION:
        raise InvalidRequestError(
            f"{param}: token ids belong to one expert's vocabulary, and model = {shown(model)} is the composition; "
            "name the expert, or send text",
            param=param,
        )
    return runtime.experts.find(model)
