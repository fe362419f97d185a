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

    def read(
        self, text: Text, tokenize: Callable[[str], Sequence[int]], truncate_to: int | None, param: str
    ) -> tuple[int, ...]:
        """Return the tokens that the model is given; `truncate_to` as EmbedRequest has it.

        Raises ContextLengthError for a text that is too long, InvalidRequestError for an id that the model has not and
        a number to cut to that makes no sense.
        """
        most = self._most(truncate_to)
        if isinstance(text, str):
            if len(text) > most * CHARS_PER_TOKEN:
                if truncate_to is None:
                    raise self._too_long(f"this text has {len(text):,} characters", param)
                text = text[: int(most) * CHARS_PER_TOKEN]
            ids = tuple(tokenize(text))
        else:
            self._check_ids(text, param)
            ids = text
        if len(ids) <= most:
            return ids
        if truncate_to is None:
            raise self._too_long(f"this text has {len(ids):,}", param)
        last = self.num_last if isinstance(text, str) else 0
        return ids[: int(most) - last] + ids[len(ids) - last :]

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
