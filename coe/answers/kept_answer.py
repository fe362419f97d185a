"""A whole answer as bytes and back: what was said of each choice, and why it ended.

Owns the form, JSON: it gives every number back as it was. Timings and token ids are left out, as no client is told them
again. Knows nothing about whose answer it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from coe.types import Delta, Finished, FinishReason, GenerateEvent, PromptScored, Switch, TokenLogprob, Usage

__all__ = ["Recording", "events_of"]


@dataclass(slots=True)
class _Choice:
    """One choice: its text, its log-probabilities, those of the prompt where they were asked for, and its end."""

    text: str = ""
    tokens: list[Any] = field(default_factory=list)
    scored: list[Any] | None = None
    reason: str | None = None
    num_tokens: int = 0
    stop_string: str | None = None


class Recording:
    """The events of a generation, one after the other."""

    def __init__(self, num_choices: int) -> None:
        self._choices = [_Choice() for _ in range(num_choices)]

    def take(self, event: GenerateEvent) -> None:
        match event:
            case PromptScored(tokens, index):
                self._choices[index].scored = list(map(_packed, tokens))
            case Delta(text, _, index, logprobs):
                self._choices[index].text += text
                self._choices[index].tokens += map(_packed, logprobs)
            case Finished(reason, usage, _, index, stop_string):
                choice = self._choices[index]
                choice.reason, choice.num_tokens, choice.stop_string = str(reason), usage.completion_tokens, stop_string

    def payload(self) -> bytes | None:
        """Return the answer, None unless every choice has come to its own end."""
        if any(choice.reason is None for choice in self._choices):
            return None
        packed = [
            [each.text, each.tokens, each.scored, each.reason, each.num_tokens, each.stop_string]
            for each in self._choices
        ]
        return json.dumps(packed, separators=(",", ":")).encode()


def events_of(payload: bytes, num_prompt_tokens: int, switch: Switch) -> Iterator[GenerateEvent]:
    """Yield a kept answer's events, one Delta a choice; no token of the prompt was computed for it."""
    for index, (text, tokens, scored, reason, num_tokens, stop_string) in enumerate(json.loads(payload)):
        if scored is not None:
            yield PromptScored(tuple(map(_unpacked, scored)), index)
        yield Delta(text, (), index, tuple(map(_unpacked, tokens)))
        usage = Usage(num_prompt_tokens, num_tokens, num_prompt_tokens)
        yield Finished(FinishReason(reason), usage, switch, index, stop_string)


def _packed(token: TokenLogprob) -> list[Any]:
    return [token.token_id, token.text, token.bytes.hex(), token.logprob, [_packed(top) for top in token.top]]


def _unpacked(packed: list[Any]) -> TokenLogprob:
    token_id, text, written, logprob, top = packed
    return TokenLogprob(token_id, text, bytes.fromhex(written), logprob, tuple(map(_unpacked, top)))
