"""An answer as parts in the order in which they come: thoughts, texts and calls of tools.

The dialects whose answers are lists of blocks (Anthropic's messages, OpenAI's responses) are written from it: the parts
when the answer is whole, and in a stream the steps in which they came. Knows nothing about their shapes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from coe.types import CallDelta, Delta, TokenLogprob

__all__ = ["Part", "Parts", "Step"]


@dataclass(slots=True)
class Part:
    """One part so far. The text of a call is its arguments, as JSON."""

    index: int
    kind: Literal["thinking", "text", "call"]
    text: str = ""
    call_id: str = ""
    name: str = ""
    tokens: list[TokenLogprob] = field(default_factory=list)


class Step(NamedTuple):
    """What happened to a part: it began, `text` was added, or it ended."""

    what: Literal["began", "grew", "ended"]
    part: Part
    text: str = ""
    tokens: tuple[TokenLogprob, ...] = ()


class Parts:
    """The parts of one choice. At most the last one is open."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self._open: Part | None = None

    def take(self, delta: Delta) -> Iterator[Step]:
        """Add what a Delta says, and yield the steps; all of them have to be read."""
        if delta.thinking:
            yield from self._grow("thinking", delta.thinking)
        if delta.text or (delta.logprobs and not delta.thinking and not delta.calls):
            yield from self._grow("text", delta.text, delta.logprobs)
        for piece in delta.calls:
            yield from self._call(piece)

    def end(self) -> Iterator[Step]:
        """End the part that is open, if one is."""
        if self._open is not None:
            ended, self._open = self._open, None
            yield Step("ended", ended)

    def _grow(
        self, kind: Literal["thinking", "text"], text: str, tokens: tuple[TokenLogprob, ...] = ()
    ) -> Iterator[Step]:
        if self._open is None or self._open.kind != kind:
            yield from self._begin(Part(len(self.parts), kind))
        yield self._added(text, tokens)

    def _call(self, piece: CallDelta) -> Iterator[Step]:
        if piece.name:  # a call's first piece
            yield from self._begin(Part(len(self.parts), "call", call_id=piece.id, name=piece.name))
        if piece.arguments:
            yield self._added(piece.arguments)

    def _begin(self, part: Part) -> Iterator[Step]:
        yield from self.end()
        self.parts.append(part)
        self._open = part
        yield Step("began", part)

    def _added(self, text: str, tokens: tuple[TokenLogprob, ...] = ()) -> Step:
        assert self._open is not None
        self._open.text += text
        self._open.tokens += tokens
        return Step("grew", self._open, text, tokens)
