"""The events of a generation with what the model wrote read: thoughts and calls of tools apart from the text.

Stands above whatever makes the events, the engine or the answer cache, and changes none but Delta and Finished. Owns
the ids of calls and the count of tokens of thought: exact for a new answer, whose tokens come one by one; a kept one's
thoughts are tokenised anew.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from coe.text.output.answer_reader import AnswerReader, reader_of
from coe.text.output.parts import Called, Part, Said, Thought
from coe.text.templates import ExpertText
from coe.types import CallDelta, Delta, Finished, FinishReason, GenerateEvent, GenerateRequest

__all__ = ["read_answers"]


@dataclass(slots=True)
class _Choice:
    """One choice so far."""

    reader: AnswerReader
    index: int
    num_calls: int = 0
    num_thought: int = 0  # tokens of its thoughts
    uncounted: list[str] = field(default_factory=list)  # thoughts that came without tokens


async def read_answers(
    request: GenerateRequest, text: ExpertText, is_thinking: bool, events: AsyncGenerator[GenerateEvent, None]
) -> AsyncGenerator[GenerateEvent, None]:
    """Yield the events of a request to the expert of `text`; with `is_thinking` its prompt has opened thoughts.

    What a plain text to continue brings is text.
    """
    choices: dict[int, _Choice] = {}
    most = None if request.allows_parallel_calls else 1
    async with aclosing(events):
        async for event in events:
            if request.prompt is not None or not isinstance(event, Delta | Finished):
                yield event
                continue
            if event.index not in choices:
                reader = reader_of(text.answer_form, request.tools, request.tool_choice, is_thinking=is_thinking)
                choices[event.index] = _Choice(reader, event.index)
            choice = choices[event.index]
            if isinstance(event, Delta):
                for delta in _read(choice, event, most):
                    yield delta
                continue
            for delta in _deltas(choice, choice.reader.finish(), most):
                yield delta
            yield _finished(choice, event, lambda thought: len(text.encode_continuation(thought)))


def _read(choice: _Choice, delta: Delta, most: int | None) -> Iterator[Delta]:
    """Yield what a Delta says; the first one has its tokens and log-probabilities."""
    was_thinking = choice.reader.is_thinking
    parts = choice.reader.push(delta.text)
    thinks = was_thinking or choice.reader.is_thinking or any(isinstance(part, Thought) for part in parts)
    if thinks:
        choice.num_thought += len(delta.token_ids)
    if thinks and not delta.token_ids:
        choice.uncounted += [part.text for part in parts if isinstance(part, Thought)]
    first, *others = _deltas(choice, parts, most) or [Delta("", (), choice.index)]
    yield Delta(first.text, delta.token_ids, first.index, delta.logprobs, first.thinking, first.calls)
    yield from others


def _deltas(choice: _Choice, parts: Sequence[Part], most: int | None) -> list[Delta]:
    """Return parts as Deltas: text and thoughts in one, then two for each call; calls beyond `most` are left out."""
    thinking = "".join(part.text for part in parts if isinstance(part, Thought))
    said = "".join(part.text for part in parts if isinstance(part, Said))
    deltas = [Delta(said, (), choice.index, thinking=thinking)] if said or thinking else []
    for part in parts:
        if isinstance(part, Called) and choice.num_calls != most:
            number, choice.num_calls = choice.num_calls, choice.num_calls + 1
            begun = CallDelta(number, f"call_{uuid.uuid4().hex[:24]}", part.name)
            pieces = (begun, CallDelta(number, arguments=part.arguments))
            deltas += [Delta("", (), choice.index, calls=(piece,)) for piece in pieces]
    return deltas


def _finished(choice: _Choice, event: Finished, num_tokens: Callable[[str], int]) -> Finished:
    uncounted = "".join(choice.uncounted)
    num_thought = choice.num_thought + (num_tokens(uncounted) if uncounted else 0)
    usage = replace(event.usage, reasoning_tokens=min(num_thought, event.usage.completion_tokens))
    is_calling = choice.num_calls and event.reason is FinishReason.STOP
    return replace(event, reason=FinishReason.TOOL_CALLS if is_calling else event.reason, usage=usage)
