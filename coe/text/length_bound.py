"""How long a prompt can be at most, so that one is refused by its length alone: before routing, without tokenising.

Read from a tokenizer's parts. Covered: byte-level BPE and BPE with byte fallback, as almost all decoders have them.
Others have no bound: a part that drops or fuses text (stripped blanks, words outside a vocabulary) makes few tokens of
any length. Knows nothing about experts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tokenizers import Tokenizer, models

from coe.errors import ContextLengthError

__all__ = ["LengthBound", "chars_per_token", "too_long"]

COMPOSED = 4  # code points that a Unicode normal form joins into one at most (UAX #15, stream of NFC)
_NORMAL_FORMS = ("NFC", "NFKC")
_HARMLESS = {
    "NFD",
    "NFKD",
    "Lowercase",
    "Prepend",
    "ByteLevel",
    "Metaspace",
    "Digits",
    "FixedLength",
    *_NORMAL_FORMS,
}


class LengthBound(NamedTuple):
    """What a context of `num_tokens` can hold at most; `num_chars` may be infinite."""

    num_tokens: int
    num_chars: float

    def check(self, num_messages: int, num_chars: int, who: str) -> None:
        """Raise ContextLengthError for a prompt that cannot fit, whatever its tokens are; `who` has the context."""
        if num_messages > self.num_tokens:
            raise too_long(
                self.num_tokens,
                f"{who} is sent {num_messages:,} messages, of which each takes a token or more; send fewer messages",
            )
        if num_chars > self.num_chars:
            raise too_long(
                self.num_tokens,
                f"they hold {self.num_chars:,} characters at most, and the prompt for {who} has {num_chars:,}; shorten "
                "the prompt",
            )

    @classmethod
    def of(cls, tokenizer: Tokenizer, context: int) -> LengthBound:
        longest = chars_per_token(tokenizer)
        return cls(context, math.inf if longest is None else context * longest)


def too_long(num_tokens: int, why: str) -> ContextLengthError:
    """Return the error for a prompt that a context of `num_tokens` cannot hold.

    It begins with the words that clients look for, who then ask a model with a longer context or cut the conversation.
    """
    message = f"This model's maximum context length is {num_tokens} tokens: {why}"
    return ContextLengthError(message, param="messages")


def chars_per_token(tokenizer: Tokenizer) -> int | None:
    """Return a bound on the characters of one token; None where there is no bound."""
    parts = [*_parts(tokenizer.normalizer), *_parts(tokenizer.pre_tokenizer)]
    added = tokenizer.get_added_tokens_decoder().values()
    is_bounded = _spells_all(tokenizer, parts) and all(map(_keeps_length, parts))
    if not is_bounded or any(token.lstrip or token.rstrip for token in added):
        return None
    longest = max(map(len, tokenizer.get_vocab(with_added_tokens=True)), default=1)
    return longest * (COMPOSED if any(part["type"] in _NORMAL_FORMS for part in parts) else 1)


def _spells_all(tokenizer: Tokenizer, parts: list[Mapping[str, Any]]) -> bool:
    """Return whether there is a token for every byte, so that nothing is unknown and dropped or fused."""
    is_byte_level = any(part["type"] == "ByteLevel" for part in parts)
    return isinstance(tokenizer.model, models.BPE) and (is_byte_level or tokenizer.model.byte_fallback)


def _keeps_length(part: Mapping[str, Any]) -> bool:
    if part["type"] in ("Split", "Punctuation"):
        return bool(part["behavior"] != "Removed")
    if part["type"] == "Replace":
        pattern = part["pattern"].get("String")
        return pattern is not None and len(part["content"]) >= len(pattern)
    return part["type"] in _HARMLESS


def _parts(part: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the simple parts of a normaliser or pre-tokeniser, in tokenizer.json's words."""
    if part is not None:
        yield from _flat(json.loads(part.__getstate__()))


def _flat(part: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if part["type"] == "Sequence":
        for each in part.get("normalizers") or part.get("pretokenizers") or ():
            yield from _flat(each)
    else:
        yield part
