"""OpenAI's answers: an `Answer` per request takes its events and writes the whole answer, or its chunks.

Choices are told apart by `index`. Log-probabilities have two shapes: a list of objects in chat completions, parallel
lists in the legacy completions. Knows nothing about HTTP or server-sent events.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from coe.types import Delta, Finished, FinishReason, GenerateEvent, PromptScored, Routed, TokenLogprob
from server.openai.objects import usage_object
from server.openai.requests import ChatRequest, CompletionRequest
from server.routing import coe_object

__all__ = ["Answer", "ChatAnswer", "CompletionAnswer"]


@dataclass(slots=True)
class _Choice:
    """One choice so far."""

    index: int
    text: str = ""
    tokens: list[TokenLogprob] = field(default_factory=list)
    end: Finished | None = None


@dataclass(frozen=True, slots=True)
class _Piece:
    """What one chunk adds to a choice; `tokens` is None where the request asked for no log-probabilities."""

    index: int
    text: str = ""
    tokens: Sequence[TokenLogprob] | None = None
    offset: int = 0  # characters of the choice before this piece
    reason: FinishReason | None = None
    is_first: bool = False


class Answer:
    """What the two kinds of answer share.

    `take` every event; `whole` is the answer after the last one. `opening`, `chunk` and `usage_chunk` are the stream.
    """

    id_prefix: str
    whole_kind: str
    chunk_kind: str

    def __init__(
        self, request_id: str, asked: ChatRequest | CompletionRequest, routed: Routed, num_prompts: int = 1
    ) -> None:
        self._id = f"{self.id_prefix}-{request_id}"
        self._routed = {routed.index: routed}  # of each prompt's first choice
        self._num_each = asked.num_choices
        self._created = int(time.time())
        self._has_logprobs = asked.num_logprobs is not None
        self._choices = [_Choice(index) for index in range(num_prompts * asked.num_choices)]

    def take(self, event: GenerateEvent) -> None:
        """Add an event to the answer."""
        match event:
            case Routed():
                self._routed[event.index] = event
            case PromptScored(tokens, index):
                self._choices[index].tokens += tokens
            case Delta(text, _, index, logprobs):
                self._choices[index].text += text
                self._choices[index].tokens += logprobs
            case Finished():
                self._choices[event.index].end = event

    def whole(self) -> dict[str, Any]:
        """The answer, after every choice has ended."""
        choices = [self._whole_choice(choice) for choice in self._choices]
        first, ends = self._first, self._ends()
        body = {**self._head(self.whole_kind, choices, first), "usage": usage_object(ends, self._num_each)}
        coe = coe_object(first, ends[first.index].switch)
        if len(self._routed) > 1:
            coe["prompts"] = [coe_object(each, ends[at].switch) for at, each in sorted(self._routed.items())]
        return {**body, "coe": coe}

    def opening(self, routed: Routed) -> Iterator[dict[str, Any]]:
        """The first chunk of each choice of a prompt; the first of them has the decision."""
        self._routed[routed.index] = routed
        for index in range(routed.index, routed.index + self._num_each):
            chunk = self._chunk(_Piece(index, is_first=True))
            yield chunk if index > routed.index else {**chunk, "coe": coe_object(routed)}

    def chunk(self, event: GenerateEvent) -> dict[str, Any] | None:
        """The chunk that an event makes, None for one without content. Call it before `take`."""
        match event:
            case Finished(reason, _, switch, index):
                chunk = self._chunk(_Piece(index, reason=reason))
                return {**chunk, "coe": coe_object(self._routed_to(index), switch)}
            case Delta(text, _, index, logprobs) if text or logprobs:
                return self._chunk(self._piece(index, text, logprobs))
            case PromptScored(tokens, index):
                return self._chunk(self._piece(index, self._routed_to(index).decision.text, tokens))
        return None

    def usage_chunk(self) -> dict[str, Any]:
        """The extra last chunk of a stream that asked for usage; it has no choices."""
        return {**self._head(self.chunk_kind, [], self._first), "usage": usage_object(self._ends(), self._num_each)}

    @property
    def _first(self) -> Routed:
        """The decision of the first prompt."""
        return self._routed[min(self._routed)]

    def _routed_to(self, index: int) -> Routed:
        """The decision that a choice belongs to."""
        return self._routed[index - index % self._num_each]

    def _piece(self, index: int, text: str, tokens: Sequence[TokenLogprob]) -> _Piece:
        offset = sum(len(token.text) for token in self._choices[index].tokens)
        return _Piece(index, text, tokens if self._has_logprobs else None, offset)

    def _chunk(self, piece: _Piece) -> dict[str, Any]:
        return self._head(self.chunk_kind, [self._chunk_choice(piece)], self._routed_to(piece.index))

    def _head(self, kind: str, choices: list[dict[str, Any]], routed: Routed) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": routed.decision.expert,
            "choices": choices,
        }

    def _ends(self) -> list[Finished]:
        ends = [choice.end for choice in self._choices if choice.end is not None]
        assert len(ends) == len(self._choices)
        return ends

    def _whole_choice(self, choice: _Choice) -> dict[str, Any]:
        raise NotImplementedError

    def _chunk_choice(self, piece: _Piece) -> dict[str, Any]:
        raise NotImplementedError


class ChatAnswer(Answer):
    """POST /v1/chat/completions."""

    id_prefix, whole_kind, chunk_kind = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def _whole_choice(self, choice: _Choice) -> dict[str, Any]:
        assert choice.end is not None
        return {
            "index": choice.index,
            "message": {"role": "assistant", "content": choice.text, "refusal": None},
            "logprobs": _chat_logprobs(choice.tokens) if self._has_logprobs else None,
            "finish_reason": str(choice.end.reason),
        }

    def _chunk_choice(self, piece: _Piece) -> dict[str, Any]:
        delta = {"content": piece.text} if piece.text or piece.tokens or piece.is_first else {}
        return {
            "index": piece.index,
            "delta": {"role": "assistant", **delta} if piece.is_first else delta,
            "logprobs": None if piece.tokens is None else _chat_logprobs(piece.tokens),
            "finish_reason": _text(piece.reason),
        }


class CompletionAnswer(Answer):
    """POST /v1/completions. With `echo` the prompt comes first, as the expert was given it."""

    id_prefix, whole_kind, chunk_kind = "cmpl", "text_completion", "text_completion"

    def __init__(self, request_id: str, asked: CompletionRequest, routed: Routed, num_prompts: int = 1) -> None:
        super().__init__(request_id, asked, routed, num_prompts)
        self._echoes = bool(asked.echo)

    def _echo(self, index: int) -> str:
        return self._routed_to(index).decision.text if self._echoes else ""

    def _whole_choice(self, choice: _Choice) -> dict[str, Any]:
        assert choice.end is not None
        return {
            "index": choice.index,
            "text": self._echo(choice.index) + choice.text,
            "logprobs": _completion_logprobs(choice.tokens, 0) if self._has_logprobs else None,
            "finish_reason": str(choice.end.reason),
        }

    def _chunk_choice(self, piece: _Piece) -> dict[str, Any]:
        is_echo = piece.is_first and not self._has_logprobs  # with logprobs the prompt comes with its own, later
        return {
            "index": piece.index,
            "text": self._echo(piece.index) if is_echo else piece.text,
            "logprobs": None if piece.tokens is None else _completion_logprobs(piece.tokens, piece.offset),
            "finish_reason": _text(piece.reason),
        }


def _chat_logprobs(tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
    content = [{**_chat_token(token), "top_logprobs": [_chat_token(top) for top in token.top]} for token in tokens]
    return {"content": content, "refusal": None}


def _chat_token(token: TokenLogprob) -> dict[str, Any]:
    return {"token": token.text, "logprob": token.logprob, "bytes": list(token.bytes)}


def _completion_logprobs(tokens: Sequence[TokenLogprob], offset: int) -> dict[str, Any]:
    """Parallel lists. `top_logprobs` has the chosen token, too, and is None for the first token of a prompt."""
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.text)
    tops = [{**{top.text: top.logprob for top in token.top}, token.text: token.logprob} for token in tokens]
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [None if token.logprob is None else top for token, top in zip(tokens, tops, strict=True)],
        "text_offset": offsets,
    }


def _text(reason: FinishReason | None) -> str | None:
    return None if reason is None else str(reason)
