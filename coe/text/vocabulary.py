"""A single token: its bytes and its text, as log-probabilities show them.

A token may be a part of a character, so its text alone does not identify it. Covered: byte-level tokenizers (GPT-2's
alphabet), tokenizers with byte fallback or a visible space (SentencePiece's), and added tokens. Any other token is what
the tokenizer decodes for it alone. Knows nothing about sequences or models.
"""

from __future__ import annotations

import re

from tokenizers import Tokenizer

from coe.engine.sampling import Logprob
from coe.types import TokenLogprob

__all__ = ["Vocabulary"]

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # SentencePiece's


class Vocabulary:
    """The tokens of one tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        decoder = "" if tokenizer.decoder is None else tokenizer.decoder.__getstate__().decode()
        self._alphabet = _byte_level_alphabet() if '"ByteLevel"' in decoder else None
        self._is_sentencepiece = '"ByteFallback"' in decoder or _SPACE in decoder
        self._added = {token_id: token.content for token_id, token in tokenizer.get_added_tokens_decoder().items()}
        self._known: dict[int, bytes] = {}

    def bytes_of(self, token_id: int) -> bytes:
        """Return the token's bytes; none for an id that the tokenizer does not have."""
        if token_id not in self._known:
            self._known[token_id] = self._read(token_id)
        return self._known[token_id]

    def named(self, token_id: int, logprob: Logprob | None) -> TokenLogprob:
        """Return a log-probability with its tokens' texts and bytes; `logprob` is None for a prompt's first token."""
        if logprob is None:
            return self._token(token_id, None)
        top = tuple(self._token(other_id, other) for other_id, other in logprob.top)
        return self._token(token_id, logprob.logprob, top)

    def _token(self, token_id: int, logprob: float | None, top: tuple[TokenLogprob, ...] = ()) -> TokenLogprob:
        data = self.bytes_of(token_id)
        return TokenLogprob(token_id, data.decode("utf-8", "replace"), data, logprob, top)

    def _read(self, token_id: int) -> bytes:
        token = self._added.get(token_id)
        if token is not None:
            return token.encode()
        token = self._tokenizer.id_to_token(token_id)
        if token is None:  # a padded LM head has ids that the tokenizer lacks
            return b""
        if self._alphabet is not None and all(letter in self._alphabet for letter in token):
            return bytes(self._alphabet[letter] for letter in token)
        if self._is_sentencepiece:
            found = _BYTE.fullmatch(token)
            return bytes([int(found[1], 16)]) if found else token.replace(_SPACE, " ").encode()
        return self._tokenizer.decode([token_id], skip_special_tokens=False).encode()


def _byte_level_alphabet() -> dict[str, int]:
    """Return the byte of each letter in GPT-2's alphabet, which has a printable letter for every byte."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + at): byte for at, byte in enumerate(others)}
