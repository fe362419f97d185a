"""Thoughts apart from the rest of an answer, piece by piece, however the text is cut.

Covered: one block of thoughts before the answer, which the prompt has opened or the answer opens. A mark elsewhere is
text. Blanks at the ends of thoughts and between them and the answer are layout and left out. Knows nothing about calls.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from coe.text.output.parts import overlap
from coe.types import ThoughtMarks

__all__ = ["Split", "ThoughtReader"]


class Split(NamedTuple):
    """New text: of thoughts, and of what follows them."""

    thinking: str = ""
    rest: str = ""


class ThoughtReader:
    """Reads one answer. With `is_thinking` the prompt has opened its thoughts."""

    def __init__(self, marks: ThoughtMarks, *, is_thinking: bool = False) -> None:
        self._opening, self._closing = marks.opening.strip(), marks.closing.strip()
        self._state: Literal["start", "thinking", "after", "answer"] = "thinking" if is_thinking else "start"
        self._held = ""
        self._has_thought = False

    @property
    def is_thinking(self) -> bool:
        return self._state == "thinking"

    def push(self, text: str) -> Split:
        self._held += text
        if self._state == "start":
            self._begin()
        thinking = self._think() if self._state == "thinking" else ""
        if self._state == "after":
            self._held = self._held.lstrip()
            self._state = "answer" if self._held else "after"
        rest = ""
        if self._state == "answer":
            rest, self._held = self._held, ""
        return Split(thinking, rest)

    def finish(self) -> Split:
        """Return what was held back; thoughts that nothing closes are thoughts."""
        held, self._held = self._held, ""
        if self._state == "thinking":
            return Split(held.rstrip() if self._has_thought else held.strip())
        return Split("", held if self._state == "start" else "")

    def _begin(self) -> None:
        """Find out whether the answer opens with thoughts; hold it as long as it may."""
        begun = self._held.lstrip()
        if begun.startswith(self._opening):
            self._state, self._held = "thinking", begun[len(self._opening) :]
        elif not self._opening.startswith(begun):
            self._state = "answer"

    def _think(self) -> str:
        thinking, closing, after = self._held.partition(self._closing)
        if closing:
            self._state, self._held = "after", after
            return self._noted(thinking.rstrip())
        ready = self._held[: len(self._held) - overlap(self._held, (self._closing,))].rstrip()
        self._held = self._held[len(ready) :]
        return self._noted(ready)

    def _noted(self, text: str) -> str:
        text = text if self._has_thought else text.lstrip()
        self._has_thought = self._has_thought or bool(text)
        return text
