"""An expert's tokens as llguidance needs them: the bytes of each, which are control tokens, and which end an answer.

Owns which tokenizers can have grammars: those whose text is the bytes of its tokens, one after another. Knows nothing
about grammars.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from llguidance import LLTokenizer, TokenizerWrapper
from numpy.typing import NDArray
from tokenizers import Tokenizer

from coe.errors import InvalidRequestError
from coe.text.templates import ExpertText
from coe.text.vocabulary import Vocabulary

__all__ = ["TokenTable", "digest_of", "token_table"]

SAMPLE = '{"name": "Zoë", "list": [1, -2.5e3, true],\n\t"text": "你好 \\" x"}'
BLANK = "\N{LOWER ONE EIGHTH BLOCK}"  # SentencePiece's


@dataclass(frozen=True, slots=True)
class TokenTable:
    """One tokenizer with the end tokens and the rows of a model.

    `control` has every token by its text that no rule for text can produce, `ends` the bits of the end tokens, packed
    as masks are. With `strips_blank` a blank at the beginning of a text is not seen.
    """

    library: LLTokenizer
    control: dict[str, int]
    ends: NDArray[np.int32]
    strips_blank: bool


def digest_of(text: ExpertText) -> bytes:
    """Return what two experts have in common that may share a table."""
    facts = json.dumps([sorted(text.eos_ids), text.num_rows]).encode()
    return hashlib.sha256(facts + text.tokenizer.to_str().encode()).digest()


def token_table(text: ExpertText) -> TokenTable:
    """Return an expert's table, which takes some tenths of a second.

    Raises InvalidRequestError where its answers can have no grammar: its text is not made of its tokens' bytes, or
    nothing ends an answer.
    """
    if not text.eos_ids:
        raise _unable(text, "it has no end token, so that no answer could end where its grammar does")
    tokenizer, vocabulary = text.tokenizer, Vocabulary(text.tokenizer)
    tokens = [vocabulary.bytes_of(token_id) for token_id in range(text.num_rows)]
    strips_blank = _strips_blank(tokenizer)
    sample = tokenizer.encode(SAMPLE, add_special_tokens=False).ids
    bytes_of_sample = b"".join(tokens[token_id] for token_id in sample if token_id < len(tokens))
    decoded = tokenizer.decode(sample, skip_special_tokens=False).encode()
    if bytes_of_sample not in (decoded, b" " + decoded):
        raise _unable(text, "its tokenizer writes other text than its tokens' bytes")
    added = {token.content: at for at, token in tokenizer.get_added_tokens_decoder().items() if at < text.num_rows}
    ends = np.zeros((text.num_rows + 31) // 32, dtype=np.uint32)
    for token_id in text.eos_ids:
        ends[token_id // 32] |= np.uint32(1 << token_id % 32)
    words = _Words(tokenizer, tokens, sorted({*added.values(), *text.eos_ids}), min(text.eos_ids))
    library = LLTokenizer(words, eos_token=sorted(text.eos_ids))
    return TokenTable(library, added, ends.view(np.int32), strips_blank)


class _Words(TokenizerWrapper):
    """What llguidance asks of a tokenizer; it reads control tokens as text, and every text as one that follows
    another."""

    def __init__(self, tokenizer: Tokenizer, tokens: Sequence[bytes], special_ids: Sequence[int], eos_id: int) -> None:
        self.tokens, self.special_token_ids = tokens, special_ids
        self.eos_token_id, self.bos_token_id = eos_id, None
        self.is_tokenizer_wrapper = True
        self._plain = Tokenizer(tokenizer.model)
        if tokenizer.normalizer is not None:
            self._plain.normalizer = tokenizer.normalizer
        if tokenizer.pre_tokenizer is not None:
            self._plain.pre_tokenizer = tokenizer.pre_tokenizer

    def __call__(self, text: str) -> list[int]:
        """Return the ids of a text; no lock is held meanwhile."""
        encodings = self._plain.encode_batch_fast(["\n", f"\n{text}", text], add_special_tokens=False)
        newline, after, alone = (list(encoding.ids) for encoding in encodings)
        return after[len(newline) :] if after[: len(newline)] == newline else alone


def _strips_blank(tokenizer: Tokenizer) -> bool:
    blank = tokenizer.token_to_id(BLANK)
    return blank is not None and not tokenizer.decode([blank, blank], skip_special_tokens=False).startswith("  ")


def _unable(text: ExpertText, why: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"expert '{text.expert}' cannot keep to a grammar: {why}; ask another expert, or leave the grammar out",
        param="response_format",
    )
