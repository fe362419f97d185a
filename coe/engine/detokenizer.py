"""From token ids to text that may be sent: whole characters only, and nothing that might be a stop string.

Knows a tokenizer and the stop strings; knows nothing about models or requests.
"""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

__all__ = ["Detokenizer"]


class Detokenizer:
    """One sequence's text. `push` returns what is safe to send now; `finish` returns what was held back."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = ()) -> None:
        self._tokenizer = tokenizer
        self._stop = tuple(text for text in stop if text)
        self._stream = DecodeStream(skip_special_tokens=True)
        self._ids: list[int] = []
        self._num_decoded = 0  # characters that the stream has given
        self._held = ""
        self.is_stopped = False

    def push(self, token_id: int) -> str:
        """Take one more token; sets `is_stopped` when a stop string is complete (it and what follows are dropped)."""
        self._ids.append(token_id)
        text = self._stream.step(self._tokenizer, token_id) or ""
        self._num_decoded += len(text)
        return self._release(text)

    def finish(self) -> str:
        """The rest: bytes of an unfinished character become U+FFFD, as transformers' decode has it."""
        if self.is_stopped:
            return ""
        whole: str = self._tokenizer.decode(self._ids, skip_special_tokens=True)
        rest = self._release(whole[self._num_decoded :])
        held, self._held = self._held, ""
        return rest if self.is_stopped else rest + held

    def _release(self, text: str) -> str:
        self._held += text
        found = [at for stop in self._stop if (at := self._held.find(stop)) >= 0]
        if found:
            self.is_stopped = True
            ready, self._held = self._held[: min(found)], ""
            return ready
        keep = max((_overlap(self._held, stop) for stop in self._stop), default=0)
        ready, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return ready


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
