"""Token ids → text that may be sent: whole characters, and nothing that may turn out to be a stop string.

Knows a tokenizer and the stop strings; knows nothing about models or requests. Decodes a window of the last tokens
anew with each token, because tokenizers' own DecodeStream raises on bytes that are no UTF-8.
"""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer

__all__ = ["Detokenizer"]

CONTEXT_TOKENS = 8  # of the prompt: a character may be several tokens
UNFINISHED = "\N{REPLACEMENT CHARACTER}"  # how a text ends in the middle of a character


class Detokenizer:
    """The text of one sequence. `push` returns the text that can be sent now, `finish` the text that was held back.

    `stop_string` is the first stop string that is complete, None before. `num_decoded` counts the characters of all
    tokens so far, `num_sent` those that were returned. `before` are the tokens that the text follows; without them it
    is a text of its own, at whose beginning SentencePiece has no blank. `dropped` are the special tokens that are no
    text, None for all.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        stop: Sequence[str] = (),
        before: Sequence[int] = (),
        dropped: frozenset[int] | None = None,
    ) -> None:
        self._tokenizer, self._dropped = tokenizer, dropped
        self._stop = tuple(text for text in stop if text)
        self._window = list(before[-CONTEXT_TOKENS:])  # the tokens of the last text, and later ones that are none yet
        self._given = self._decoded() if before else ""  # the text of the window that was passed on, or is the prompt's
        self._num_given = len(self._window)  # the window's tokens that are this text
        self._held = ""  # may be the beginning of a stop string
        self.num_decoded = 0
        self.num_sent = 0
        self.stop_string: str | None = None

    @property
    def is_stopped(self) -> bool:
        return self.stop_string is not None

    def push(self, token_id: int, *, may_stop: bool = True) -> str:
        """Take one token and return the text that can be sent now.

        A complete stop string ends the text; it and what follows are left out. With `may_stop` False stop strings
        are ordinary text.
        """
        self._window.append(token_id)
        text = self._decoded()
        if len(text) <= len(self._given) or text.endswith(UNFINISHED):
            return ""
        fresh = text[len(self._given) :]
        self._window = self._window[self._num_given :]  # some context: decoders treat a text's start specially
        self._given, self._num_given = self._decoded(), len(self._window)
        return self._release(fresh, may_stop)

    def finish(self) -> str:
        """Return the rest; an unfinished character becomes U+FFFD, as in transformers' `decode`."""
        if self.is_stopped:
            return ""
        rest = self._release(self._decoded()[len(self._given) :])
        held, self._held = self._held, ""
        self.num_sent += len(held)
        return rest + held

    def _decoded(self) -> str:
        if self._dropped is None:
            return self._tokenizer.decode(self._window, skip_special_tokens=True)
        kept = [token_id for token_id in self._window if token_id not in self._dropped]
        return self._tokenizer.decode(kept, skip_special_tokens=False)

    def _release(self, text: str, may_stop: bool = True) -> str:
        self._held += text
        self.num_decoded += len(text)
        stops = self._stop if may_stop else ()
        found = [(at, stop) for stop in stops if (at := self._held.find(stop)) >= 0]
        keep = max((_overlap(self._held, stop) for stop in stops), default=0)
        end, self.stop_string = min(found) if found else (len(self._held) - keep, None)
        ready, self._held = self._held[:end], "" if found else self._held[end:]
        self.num_sent += len(ready)
        return ready


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of `text` that is a beginning of `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
