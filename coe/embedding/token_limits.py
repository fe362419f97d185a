"""What a model takes of a text: token ids that it has, and not more of them than its context.

Owns cutting, which keeps the special tokens at the end, and the errors for what does not fit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from coe.embedding.requests import Text
from coe.errors import ContextLengthError, InvalidRequestError

__all__ = ["TokenLimits"]

CHARS_PER_TOKEN = 64  # of a text that is refused, or cut, unread: no language comes near it


@dataclass(frozen=True, slots=True)
class TokenLimits:
    """One model's: its context in tokens, perhaps infinite, its vocabulary, and the special tokens that end a text."""

    model: str
    max_tokens: float
    num_rows: int
    num_last: int = 0

    @property
    def context(self) -> int:
        """The longest text in tokens; 0 where there is no limit."""
        return 0 if math.isinf(self.max_tokens) else int(self.max_tokens)

    def read(
        self, text: Text, tokenize: Callable[[str], Sequence[int]], truncate_to: int | None, param: str
    ) -> tuple[int, ...]:
        """Return the tokens that the model is given; `truncate_to` as EmbedRequest has it.

        Raises ContextLengthError for a text that is too long, InvalidRequestError for an id that the model has not and
        a number to cut to that makes no sense.
        """
        if isinstance(text, str):
            ids = tuple(tokenize(text[: self.cut(len(text), truncate_to, param)]))
        else:
            self._check_ids(text, param)
            ids = text
        surplus = self.surplus(len(ids), truncate_to, param)
        last = self.num_last if isinstance(text, str) else 0
        return ids[: len(ids) - surplus - last] + ids[len(ids) - last :] if surplus else ids

    def cut(self, num_chars: int, truncate_to: int | None, param: str) -> int | None:
        """Return how many characters of a text are tokenised, None for all; raises as `read` does."""
        most = self._most(truncate_to)
        if num_chars <= most * CHARS_PER_TOKEN:
            return None
        if truncate_to is None:
            raise self._too_long(f"this text has {num_chars:,} characters", param)
        return int(most) * CHARS_PER_TOKEN

    def surplus(self, num_tokens: int, truncate_to: int | None, param: str) -> int:
        """Return how many tokens are to be cut off; raises as `read` does."""
        most = self._most(truncate_to)
        if num_tokens <= most:
            return 0
        if truncate_to is None:
            raise self.too_long(num_tokens, param)
        return num_tokens - int(most)

    def too_long(self, num_tokens: int, param: str) -> ContextLengthError:
        return self._too_long(f"this text has {num_tokens:,}", param)

    def _most(self, truncate_to: int | None) -> float:
        if not truncate_to:
            return self.max_tokens
        if not self.num_last < truncate_to <= self.max_tokens:
            most = "any number" if math.isinf(self.max_tokens) else f"{int(self.max_tokens)}"
            raise InvalidRequestError(
                f"truncate_prompt_tokens = {truncate_to}, and '{self.model}' takes {self.num_last + 1} to {most}; "
                "send -1 for its maximum",
                param="truncate_prompt_tokens",
            )
        return truncate_to

    def _check_ids(self, ids: tuple[int, ...], param: str) -> None:
        for token_id in (min(ids), max(ids)):
            if not 0 <= token_id < self.num_rows:
                raise InvalidRequestError(
                    f"token id {token_id} is none of '{self.model}', which has 0 to {self.num_rows - 1}; token ids are "
                    "the model's own: send texts (LangChain: check_embedding_ctx_length=False)",
                    param=param,
                )

    def _too_long(self, found: str, param: str) -> ContextLengthError:
        return ContextLengthError(
            f"the maximum context length is {int(self.max_tokens)} tokens for '{self.model}', and {found}; shorten it, "
            "or send truncate_prompt_tokens = -1",
            param=param,
        )
