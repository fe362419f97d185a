"""One answer, read as it comes: thoughts first, then text and calls of tools.

`push` takes the next piece of text, `finish` the end; both return parts, which do not depend on how the text was cut.
"""

from __future__ import annotations

from coe.text.output.answer_form import AnswerForm
from coe.text.output.call_formats import CallFormat
from coe.text.output.calls import CallReader
from coe.text.output.harmony import HarmonyReader
from coe.text.output.parts import Part, Said, Thought
from coe.text.output.thoughts import Split, ThoughtReader
from coe.types import Tool, ToolChoice

__all__ = ["AnswerReader", "MarkedReader", "reader_of"]


class MarkedReader:
    """Reads an answer whose thoughts stand between two marks, and whose calls have marks of their own.

    Without `calls` no call is looked for, without `thoughts` no thought.
    """

    def __init__(self, thoughts: ThoughtReader | None, calls: CallReader | None) -> None:
        self._thoughts, self._calls = thoughts, calls

    @property
    def is_thinking(self) -> bool:
        return self._thoughts is not None and self._thoughts.is_thinking

    def push(self, text: str) -> list[Part]:
        return self._parts(Split("", text) if self._thoughts is None else self._thoughts.push(text))

    def finish(self) -> list[Part]:
        parts = self._parts(Split() if self._thoughts is None else self._thoughts.finish())
        return parts + ([] if self._calls is None else self._calls.finish())

    def _parts(self, split: Split) -> list[Part]:
        parts: list[Part] = [Thought(split.thinking)] if split.thinking else []
        if self._calls is not None:
            return parts + self._calls.push(split.rest)
        return [*parts, Said(split.rest)] if split.rest else parts


AnswerReader = MarkedReader | HarmonyReader
NO_CALLS = CallFormat(())


def reader_of(form: AnswerForm, tools: tuple[Tool, ...], choice: ToolChoice, *, is_thinking: bool) -> AnswerReader:
    """Return the reader of one answer; only tools that may be called are looked for."""
    schemas = {tool.name: tool.parameters for tool in tools if choice.may_call(tool.name)}
    if form.calls == "harmony":
        return HarmonyReader(schemas)
    thoughts = None if form.thoughts is None else ThoughtReader(form.thoughts, is_thinking=is_thinking)
    hidden = form.hidden(has_tools=bool(schemas))
    calls = CallReader(form.call_format if schemas else NO_CALLS, schemas, hidden) if schemas or hidden else None
    return MarkedReader(thoughts, calls)
