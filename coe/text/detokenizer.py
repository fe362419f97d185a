"""From token ids to text that may be sent: whole characters only, and nothing that might be a stop string.

Knows a tokenizer and the stop strings; knows nothing about models or requests. Decodes a window of the last tokens
again with each new one: tokenizers' own DecodeStream raises when bytes turn out to be no UTF-8.
"""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer

__all__ = ["Detokenizer"]

UNFINISHED = "\N{REPLACEMENT CHARACTER}"  # how a text ends in the middle of a character


class Detokenizer:
    """One sequence's text. `push` returns what is safe to send now; `finish` returns what was held back."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = ()) -> None:
        self._tokenizer = tokenizer
        self._stop = tuple(text for text in stop if text)
        self._window: list[int] = []  # the last tokens that gave text, and those after them that have not yet
        self._given = ""  # what of the window's text has been given
        self._num_given = 0  # tokens of the window that gave it
        self._held = ""
        self.num_decoded = 0  # characters that the tokens so far have given, sent or not
        self.num_sent = 0
        self.is_stopped = False

    def push(self, token_id: int, *, may_stop: bool = True) -> str:
        """Take one more token; sets `is_stopped` when a stop string is complete (it and what follows are dropped)."""
        self._window.append(token_id)
        text = self._decoded()
        if len(text) <= len(self._given) or text.endswith(UNFINISHED):
            return ""
        fresh = text[len(self._given) :]
        self._window = self._window[self._num_given :]  # one step of context: decoders treat a text's start specially
        self._given, self._num_given = self._decoded(), len(self._window)
        return self._release(fresh, may_stop)

    def finish(self) -> str:
        """The rest: bytes of an unfinished character become U+FFFD, as transformers' decode has it."""
        if self.is_stopped:
            return ""
        rest = self._release(self._decoded()[len(self._given) :])
        held, self._held = self._held, ""
        self.num_sent += len(held)
        return rest + held

    def _decoded(self) -> str:
        text: str = self._tokenizer.decode(self._window, skip_special_tokens=True)
        return text

    def _release(self, text: str, may_stop: bool = True) -> str:
        self._held += text
        self.num_decoded += len(text)
        stops = self._stop if may_stop else ()
        found = [at for stop in stops if (at := self._held.find(stop)) >= 0]
        keep = max((_overlap(self._held, stop) for stop in stops), default=0)
        end = min(found) if found else len(self._held) - keep
        self.is_stopped = bool(found)
        ready, self._held = self._held[:end], "" if found else self._held[end:]
        self.num_sent += len(ready)
        return ready


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
