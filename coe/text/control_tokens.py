"""Control tokens inside a conversation: what a user writes is text, what the template writes is control.

Owns which tokens control (those that a forged turn is made of), finding them in a conversation, and marks around them
that survive the template. Between two marks of the rendered text stands what a user wrote. Covered: every string of a
message; a template that trims, splits, changes case or writes JSON. Not covered: a template that joins a control token
from pieces of the conversation. transformers marks in the same way (`sanitize_control_tokens`). Knows nothing about
messages, templates or processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from tokenizers import AddedToken, Tokenizer, models, normalizers

from coe.errors import InvalidRequestError

__all__ = ["ControlTokens", "Piece"]

START, END = "\ufdd0", "\ufdd1"  # noncharacters: Unicode has them for a program's own use
ESCAPED = {r"\ufdd0": START, r"\ufdd1": END}  # as JSON in ASCII has them
MAX_MARKED = 10_000  # in a conversation; far above what is written by people who write about models
_NO_MARKS = str.maketrans("", "", START + END)


class Piece(NamedTuple):
    """A run of a rendered text; a user's control token (`is_users`) is to be read as text."""

    text: str
    is_users: bool


class ControlTokens:
    """The control tokens of a tokenizer under a chat template.

    Special tokens are, and those added tokens that the template names or that look like one (`<|…|>`). Other added
    tokens are words that a model was given later, and tokens of blanks are layout: both may stand in any message.
    """

    def __init__(self, tokenizer: Tokenizer, template: str) -> None:
        added = [token for token in tokenizer.get_added_tokens_decoder().values() if not token.content.isspace()]
        control = [token for token in added if token.special or _is_control(token.content, template)]
        self.contents = frozenset(token.content for token in control)
        # the tokenizer finds a normalised token in other spellings, too: in capitals or in full width
        self._is_loose = tokenizer.normalizer is not None and any(token.normalized for token in control)
        self._beginnings = {content.lower()[:2] for content in self.contents}
        self._finder = _finder_of(self.contents)

    def mark(self, value: Any) -> Any:
        """Return a JSON value with marks around the control tokens in its strings, keys included.

        Raises InvalidRequestError for more of them than MAX_MARKED in one string, `pieces` for more in all.
        """
        if isinstance(value, str):
            return self._marked(value)
        if isinstance(value, Mapping):
            return {self.mark(key): self.mark(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.mark(each) for each in value]
        return value

    def pieces(self, rendered: str) -> list[Piece]:
        """Return the pieces of a text that was rendered from marked messages, without marks.

        A mark that has lost its partner still ends a piece, so that no control token is joined across it.
        """
        was_escaped = any(each in rendered for each in ESCAPED)
        for escape, mark in ESCAPED.items():
            rendered = rendered.replace(escape, mark)
        _check_number(rendered.count(START))
        first, *others = rendered.split(START)
        runs = [(False, [first.replace(END, "")])]
        for part in others:
            inside, is_closed, after = part.partition(END)
            if is_closed and self._is_control(inside):
                runs += [(True, [inside]), (False, [])]
            elif is_closed and not was_escaped:  # another spelling, which is no token where the template keeps it
                runs[-1][1].append(inside)
            else:
                runs += [(False, [inside]), (False, [])]
            runs[-1][1].append(after.replace(END, ""))
        return [Piece(text, is_users) for is_users, parts in runs if (text := "".join(parts))]

    def _is_control(self, text: str) -> bool:
        return text in self.contents or (self._is_loose and bool(self._spans(text)))

    def _marked(self, text: str) -> str:
        if START in text or END in text:
            text = text.translate(_NO_MARKS)
        if not self._may_have_any(text):
            return text
        parts, done = [], 0
        for start, end in self._spans(text):
            parts += [text[done:start], START, text[start:end], END]
            done = end
        return "".join([*parts, text[done:]])

    def _may_have_any(self, text: str) -> bool:
        if self._is_loose and not text.isascii():
            return True
        lowered = text.lower()
        return any(beginning in lowered for beginning in self._beginnings)

    def _spans(self, text: str) -> list[tuple[int, int]]:
        """Return where control tokens stand, in any case or width; linear, and without Python's lock."""
        (found,) = self._finder.encode_batch([text])
        _check_number(len(found) // 2)  # what stands between two of them is found, too
        return [span for token_id, span in zip(found.ids, found.offsets, strict=True) if token_id]


def _check_number(number: int) -> None:
    if number > MAX_MARKED:
        raise InvalidRequestError(
            f"the conversation spells {number:,} control tokens; send no more than {MAX_MARKED:,}", param="messages"
        )


def _is_control(content: str, template: str) -> bool:
    return content in template or (content.startswith("<|") and content.endswith("|>"))


def _finder_of(contents: frozenset[str]) -> Tokenizer:
    """Return a tokenizer that has nothing but these tokens, in any case or width; 0 is everything else."""
    finder = Tokenizer(models.WordLevel({"": 0}, unk_token=""))
    finder.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    finder.add_tokens([AddedToken(content, normalized=True) for content in sorted(contents)])
    return finder
