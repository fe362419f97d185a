"""Prompts → token ids: an expert's chat template and tokenizer, and its limits: context, vocabulary, end tokens.

Called on the text worker, never on the event loop. Templates are rendered in a process of their own (rendering.py), and
what a user wrote is read as text there, also where it spells a control token. The tokenizer's settings are never
changed, so the engine thread may decode with the same tokenizer meanwhile. loading.py makes these of folders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from tokenizers import Tokenizer

from coe.errors import ExpertError, InvalidRequestError
from coe.text.control_tokens import ControlTokens
from coe.text.length_bound import LengthBound, too_long
from coe.text.output.answer_form import AnswerForm
from coe.text.prompt_encoder import PromptEncoder, cleaned
from coe.text.rendering import OverrunError, RefusedError, TooLongError, renderer
from coe.text.tool_turns import WRITTEN, ToolForm, as_text, num_chars, template_tools, template_turns
from coe.text.turns import APART, apart, reshaped
from coe.text.vocabulary import Vocabulary
from coe.text.written_calls import with_written_calls
from coe.types import Message, PromptForm, Tool

__all__ = ["MOST_CHARS", "ChatTokens", "ExpertText", "Extras"]

MOST_CHARS = 32 << 20  # of a rendered text where the tokenizer gives no bound


class ChatTokens(NamedTuple):
    """The token ids of a conversation, and what was changed so that the template takes it, in words for people.

    With `is_thinking` the prompt has opened a block of thoughts, in which the answer goes on.
    """

    token_ids: tuple[int, ...]
    changed: tuple[str, ...] = ()
    is_thinking: bool = False


@dataclass(frozen=True, slots=True)
class Extras:
    """What a template gets beside the turns: the tools on offer, a client's variables, and how the text is to end."""

    tools: tuple[Tool, ...] = ()
    variables: Mapping[str, Any] = field(default_factory=dict)
    form: PromptForm = field(default_factory=PromptForm)


NOTHING_ELSE = Extras()


@dataclass(frozen=True, slots=True)
class ExpertText:
    """How one expert reads and writes text.

    `context` and `num_rows`, the rows of its embedding, are in tokens; `eos_ids` are the tokens that end a generation;
    `template` is the chat template (Jinja), which takes tools in `tool_form`; `answer_form` is how its answers are
    read; `notes` say to people what they may not expect.
    """

    expert: str
    tokenizer: Tokenizer
    vocabulary: Vocabulary
    context: int
    num_rows: int
    eos_ids: frozenset[int]
    bound: LengthBound
    template: str
    tool_form: ToolForm
    answer_form: AnswerForm
    notes: tuple[str, ...]
    _variables: Mapping[str, Any]  # what a template may name beside the messages: bos_token and the like
    _control: ControlTokens
    _encoder: PromptEncoder

    def encode_chat(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Return the token ids of a conversation, up to where the assistant's turn begins; raises as `read_chat`."""
        return self.read_chat(messages).token_ids

    def read_chat(
        self, messages: Sequence[Message], extras: Extras = NOTHING_ELSE, *, is_quick: bool = False
    ) -> ChatTokens:
        """Return the tokens of a conversation; where the template refuses it, of a shape of it that it takes.

        Raises InvalidRequestError for a conversation that the template refuses in every shape, ContextLengthError for
        one that the context cannot hold, and ExpertError for a template that needs too much time or memory. With
        `is_quick` a slow template raises OverrunError after a tenth of a second: ask again where it holds up nobody.
        """
        self.bound.check(len(messages), num_chars(messages, extras.tools), f"expert '{self.expert}'")
        for message in messages:
            self._encoder.check_head(message.content)
        written: tuple[str, ...] = ()
        has_calls = any(each.role == "tool" or each.tool_calls for each in messages)
        if not self.tool_form.takes(tools=bool(extras.tools), calls=has_calls):
            messages, extras, written = as_text(messages, extras.tools), replace(extras, tools=()), (WRITTEN,)
        elif self.tool_form.has_single_calls and any(len(each.tool_calls) > 1 for each in messages):
            messages, written = apart(messages), (APART,)
        try:
            return self._read(messages, extras, is_quick=is_quick)._replace(changed=written)
        except RefusedError as error:
            for shape, changed in reshaped(messages):
                with suppress(RefusedError):
                    return self._read(shape, extras, is_quick=is_quick)._replace(changed=(*written, *changed))
            raise InvalidRequestError(
                f"expert '{self.expert}' cannot format this conversation: {error}", param="messages"
            ) from error

    def encode_prompt(self, prompt: str, *, add_special_tokens: bool = True) -> tuple[int, ...]:
        """Return the token ids of a plain text to continue, in which control tokens count as such.

        Raises InvalidRequestError for an empty text and for a token without weights, ContextLengthError for a text that
        the context cannot hold.
        """
        self.bound.check(1, len(prompt), f"expert '{self.expert}'")
        return self._encoder.encode(prompt, add_special_tokens=add_special_tokens)

    def check_ids(self, token_ids: Sequence[int]) -> tuple[int, ...]:
        """Return the ids of a prompt that comes as tokens; raises as `encode_prompt` does."""
        return self._encoder.check_ids(token_ids)

    def decode(self, token_ids: Sequence[int]) -> str:
        """Return the text of tokens, control tokens included; raises InvalidRequestError for one that is unknown."""
        return self._encoder.decode(token_ids)

    def encode_continuation(self, text: str) -> tuple[int, ...]:
        """Return the token ids of a text that follows a prompt, encoded by itself, as an answer's tokens are.

        Raises as `encode_prompt` does.
        """
        return self._encoder.encode(text)

    def check_bias(self, logit_bias: Mapping[int, float]) -> None:
        """Raise InvalidRequestError for a token that the expert does not have."""
        for token_id in logit_bias:
            if not 0 <= token_id < self.num_rows:
                raise InvalidRequestError(
                    f"logit_bias names token {token_id}, and expert '{self.expert}' has tokens 0 to "
                    f"{self.num_rows - 1}",
                    param="logit_bias",
                )

    def room(self, num_prompt_tokens: int, max_tokens: int) -> int:
        """Return how many tokens may be generated, at most `max_tokens`.

        Raises ContextLengthError for a prompt that leaves no place for a token.
        """
        self._encoder.check_count(num_prompt_tokens)
        return min(max_tokens, self.context - num_prompt_tokens)

    def _read(self, messages: Sequence[Message], extras: Extras, *, is_quick: bool) -> ChatTokens:
        given = {name: value for name, value in extras.variables.items() if name not in self._variables}
        if extras.tools:
            given["tools"] = template_tools(extras.tools)
        plain = cleaned([template_turns(messages, self.tool_form), given])
        turns, variables = marked = self._control.mark(plain)
        if self.tool_form.has_written_calls:
            turns = with_written_calls(turns, self.answer_form.calls)
        ending: dict[str, Any] = {"add_generation_prompt": extras.form.begins_answer}
        if extras.form.continues_last:
            ending["continue_final_message"] = True
        rendered = self._rendered(turns, {**variables, **self._variables, **ending}, is_quick=is_quick)
        adds = bool(extras.form.adds_special_tokens)
        if marked == plain:
            ids = self._encoder.encode(rendered, add_special_tokens=adds)
        else:
            ids = self._encoder.encode_pieces(self._control.pieces(rendered), add_special_tokens=adds)
        return ChatTokens(ids, (), self._is_thinking(rendered, messages[-1].content, extras.form))

    def _is_thinking(self, rendered: str, last: str, form: PromptForm) -> bool:
        """Return whether the prompt ends inside thoughts: the template has opened them, or the turn to continue has."""
        marks = self.answer_form.thoughts
        if marks is None:
            return False
        if form.continues_last:
            return last.rfind(marks.opening) > last.rfind(marks.closing)
        return form.begins_answer and rendered.rstrip().endswith(marks.opening.rstrip())

    def _rendered(self, turns: Sequence[Mapping[str, Any]], variables: Mapping[str, Any], *, is_quick: bool) -> str:
        most = int(min(3 * self.bound.num_chars, MOST_CHARS))  # a character may have a mark on either side
        try:
            return renderer().render(self.template, turns, variables, max_chars=most, is_quick=is_quick)
        except TooLongError as error:
            raise too_long(
                self.context,
                f"the chat template of expert '{self.expert}' makes {error} of this conversation; shorten the "
                "conversation",
            ) from error
        except OverrunError as error:
            if is_quick:
                raise
            raise ExpertError(self.expert, f"{error}; give it another with chat_template = ...") from error
