"""How an expert's answers are to be read: the marks of its thoughts and the form of its calls, found in its template.

A template writes past answers in the words in which the model writes new ones, so that it names its family's marks. A
configuration may say another form of calls. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from coe.text.output.call_formats import CALL_FORMATS, CallFormat, CallFormatName
from coe.types import ThoughtMarks

__all__ = ["AddedWord", "AnswerForm", "answer_form_of", "form_named_in"]

THOUGHTS = (
    ThoughtMarks("<think>", "</think>"),  # Qwen, DeepSeek, SmolLM3, GLM, Nemotron, Granite 3.3
    ThoughtMarks("[THINK]", "[/THINK]"),  # Magistral
    ThoughtMarks("<|START_THINKING|>", "<|END_THINKING|>"),  # Command R
    ThoughtMarks("<seed:think>", "</seed:think>"),
    ThoughtMarks("Here is my thought process:", "Here is my response:"),  # Granite 3.2
    ThoughtMarks("Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]"),  # Apriel 1.6
)
# gpt-oss's form has thoughts of its own: a message in a channel, after which the turn goes on
HARMONY_THOUGHTS = ThoughtMarks("<|channel|>analysis<|message|>", "<|end|><|start|>assistant")
HARMONY_ANSWER = "<|channel|>final<|message|>"
# what a template has to name; the first that is there counts
SIGNS: tuple[tuple[CallFormatName, tuple[str, ...]], ...] = (
    ("harmony", ("<|channel|>", "<|message|>")),
    ("mistral", ("[TOOL_CALLS]",)),
    ("qwen3-coder", ("<tool_call>", "<function=")),
    ("glm", ("<tool_call>", "<arg_key>")),
    ("deepseek", ("<｜tool▁call▁begin｜>",)),
    ("command-r", ("<|START_ACTION|>",)),
    ("phi-4", ("<|tool_call|>", "<|/tool_call|>")),
    ("phi-4", ("functools[",)),
    ("granite", ("<|tool_call|>",)),
    ("pythonic", ("<|python_start|>",)),
    ("pythonic", ("<|tool_call_start|>",)),
    ("pythonic", ("<|tool_list_start|>",)),  # LFM2 names only the tools' marks
    ("seed", ("<seed:tool_call>",)),
    ("minimax", ("<minimax:tool_call>",)),
    ("deepseek-3.2", ("｜DSML｜",)),
    ("kimi", ("<|tool_call_begin|>",)),
    ("nemotron", ("<TOOLCALL>",)),
    ("jamba", ("<tool_calls>",)),  # Hunyuan and Apriel, too
    ("internlm", ("<|action_start|>",)),
    ("hermes", ("<tool_call>",)),
    ("llama-3", ("<|python_tag|>",)),
    ("llama-3", ('"parameters":', "<|eot_id|>")),
)


class AddedWord(NamedTuple):
    """A token that was added to a tokenizer's vocabulary; a special one is no text."""

    id: int
    content: str
    special: bool


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """`thoughts` None: the model does not think apart, or as its form of calls says. `calls` names that form.

    `ids` are the tokenizer's added tokens, of which the `special` ones are no text: those among the marks are decoded,
    to be read, and never shown.
    """

    calls: CallFormatName = "hermes"
    thoughts: ThoughtMarks | None = None
    ids: Mapping[str, int] = field(default_factory=dict)
    special: frozenset[str] = frozenset()

    @property
    def call_format(self) -> CallFormat:
        return CALL_FORMATS[self.calls]

    @property
    def lead(self) -> ThoughtMarks | None:
        """What may stand before calls and before an answer that has a form."""
        return HARMONY_THOUGHTS if self.calls == "harmony" else self.thoughts

    @property
    def opening(self) -> str:
        """What begins an answer that calls nothing."""
        return HARMONY_ANSWER if self.calls == "harmony" else ""

    def hidden(self, *, has_tools: bool) -> tuple[str, ...]:
        """Return the special tokens that reading an answer needs, in which calls are looked for if `has_tools`."""
        thoughts = () if self.thoughts is None else (self.thoughts.opening, self.thoughts.closing)
        calls = self.call_format.tokens if has_tools or self.calls == "harmony" else ()
        return tuple(mark for mark in (*thoughts, *calls) if mark in self.special)

    def dropped_ids(self, *, has_tools: bool) -> frozenset[int] | None:
        """Return the special tokens that are no text while an answer is read; None for all of them."""
        hidden = self.hidden(has_tools=has_tools)
        if not hidden:
            return None
        return frozenset(self.ids[content] for content in self.special if content not in hidden)


def answer_form_of(
    template: str, added: Iterable[AddedWord], *, knows_tools: bool, chosen: CallFormatName | None = None
) -> AnswerForm:
    """Return how answers of a template's model are read; `chosen` is the configuration's form of calls.

    A template that knows no tools gets them in Hermes' form, so that calls come in it, too.
    """
    thoughts = next((each for each in THOUGHTS if _names(template, each)), None)
    named = form_named_in(template)
    if not knows_tools and named != "harmony":
        named = "hermes"
    added = tuple(added)
    ids = {each.content: each.id for each in added}
    return AnswerForm(
        chosen or named or "json", thoughts, ids, frozenset(each.content for each in added if each.special)
    )


def form_named_in(template: str) -> CallFormatName | None:
    """Return the form of calls whose marks a template names, None where it names none."""
    return next((name for name, signs in SIGNS if all(sign in template for sign in signs)), None)


def _names(template: str, marks: ThoughtMarks) -> bool:
    return marks.closing in template or marks.opening in template
