"""Text → token ids that an expert has weights for, in bounded time and without Python's lock.

Owns what is refused on the way: an empty prompt, one that the context cannot hold, a token beyond the embedding.
`Tokenizer.encode` holds the lock all the time, `encode_batch_fast` does not. The tokenizer's settings are never
changed, so that several threads may use it. Knows nothing about messages and templates.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from tokenizers import Encoding, Tokenizer

from coe.errors import ContextLengthError, InvalidRequestError
from coe.text.control_tokens import Piece

__all__ = ["PromptEncoder", "clean"]

HEAD_CHARS = 8  # per token of context: of a longer text so much is encoded first; ordinary text has 3 to 5
CUT_TOKENS = 16  # more than a cut in the middle of a word can add


class PromptEncoder:
    """Encodes for one expert. `context` and `num_rows`, the rows of its embedding, are in tokens."""

    def __init__(self, expert: str, tokenizer: Tokenizer, context: int, num_rows: int) -> None:
        self._expert, self._tokenizer, self._context, self._num_rows = expert, tokenizer, context, num_rows
        self._added_ids = frozenset(tokenizer.get_added_tokens_decoder())
        self._plain = _without_added_tokens(tokenizer)
        self._ids_as_text = lru_cache(4096)(self._find_ids_as_text)

    def encode(self, text: str, *, add_special_tokens: bool = False) -> tuple[int, ...]:
        """Return the ids of a text, of which every control token counts as one.

        Raises InvalidRequestError for an empty text and for a token without weights, ContextLengthError for more tokens
        than the context has.
        """
        text = clean(text)
        self.check_head(text)
        return self._checked(self._encoded(text, add_special_tokens=add_special_tokens))

    def encode_pieces(self, pieces: Iterable[Piece]) -> tuple[int, ...]:
        """Return the ids of a rendered text in pieces; those that users wrote are encoded as text. Raises as `encode`.

        No token reaches over the end of a piece.
        """
        ids: list[int] = []
        for number, piece in enumerate(pieces):
            if piece.is_users:
                ids += self._ids_as_text(piece.text)
            else:
                self.check_head(piece.text)
                ids += self._middle(self._tokenizer, piece.text) if number else self._encoded(piece.text).ids
            self.check_count(len(ids))
        return self._with_weights(tuple(ids))

    def check_ids(self, token_ids: Sequence[int]) -> tuple[int, ...]:
        """Return ids that a client chose; raises as `encode` does."""
        if not token_ids:
            raise InvalidRequestError("the prompt is empty; write something to continue", param="prompt")
        self.check_count(len(token_ids))
        return self._with_weights(tuple(token_ids))

    def decode(self, token_ids: Sequence[int]) -> str:
        """Return the text of tokens, control tokens included; raises InvalidRequestError for one that is unknown."""
        text: str = self._tokenizer.decode(self._with_weights(tuple(token_ids)), skip_special_tokens=False)
        return text

    def check_head(self, text: str) -> None:
        """Raise ContextLengthError for a long text whose beginning alone has more tokens than the context."""
        head = text[: HEAD_CHARS * self._context]
        if len(head) == len(text):
            return
        count = len(self._encoded(clean(head)))
        if count > self._context + CUT_TOKENS:
            raise ContextLengthError(
                f"the prompt has {len(text):,} characters, of which the first {len(head):,} are {count:,} tokens, and "
                f"expert '{self._expert}' has {self._context:,} of context; shorten the prompt",
                param="messages",
            )

    def check_count(self, num_tokens: int) -> None:
        """Raise ContextLengthError for a prompt that leaves no place for a token."""
        if num_tokens >= self._context:
            raise ContextLengthError(
                f"the prompt has {num_tokens} tokens and expert '{self._expert}' has {self._context} of context; "
                "shorten the prompt or choose an expert with a longer context",
                param="messages",
            )

    def _checked(self, encoding: Encoding) -> tuple[int, ...]:
        if not len(encoding):
            raise InvalidRequestError("the prompt is empty; write something to continue", param="prompt")
        self.check_count(len(encoding))  # before a long list is made
        return self._with_weights(tuple(encoding.ids))

    def _with_weights(self, ids: tuple[int, ...]) -> tuple[int, ...]:
        if ids and max(ids) >= self._num_rows:
            beyond = next(token_id for token_id in ids if token_id >= self._num_rows)
            raise InvalidRequestError(
                f"the prompt has token {beyond} ({self._tokenizer.id_to_token(beyond)!r}), and expert "
                f"'{self._expert}' has weights for tokens 0 to {self._num_rows - 1}; leave that text out, or resize "
                "the model's embedding to its tokenizer"
            )
        return ids

    def _encoded(self, text: str, *, add_special_tokens: bool = False) -> Encoding:
        (encoding,) = self._tokenizer.encode_batch_fast([text], add_special_tokens=add_special_tokens)
        return encoding

    def _middle(self, tokenizer: Tokenizer, text: str) -> list[int]:
        """Return the ids of a text that stands after another: SentencePiece puts a blank before the first one only."""
        encodings = tokenizer.encode_batch_fast(["\n", f"\n{text}"], add_special_tokens=False)
        newline, after = (encoding.ids for encoding in encodings)
        if after[: len(newline)] == newline:
            return list(after[len(newline) :])
        (alone,) = tokenizer.encode_batch_fast([text], add_special_tokens=False)
        return list(alone.ids)

    def _find_ids_as_text(self, token: str) -> list[int]:
        """Return the ids of a control token's text; letter by letter where the model itself knows the token."""
        ids = self._middle(self._plain, token)
        if self._added_ids.isdisjoint(ids):
            return ids
        return [token_id for letter in token for token_id in self._middle(self._plain, letter)]


def clean(text: str) -> str:
    """Return the text with a question mark for each lone surrogate, which has no bytes."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _without_added_tokens(tokenizer: Tokenizer) -> Tokenizer:
    """Return a tokenizer of the same parts, to which a control token's text is text. It shares the model's memory."""
    plain = Tokenizer(tokenizer.model)
    if tokenizer.normalizer is not None:
        plain.normalizer = tokenizer.normalizer
    if tokenizer.pre_tokenizer is not None:
        plain.pre_tokenizer = tokenizer.pre_tokenizer
    return plain
