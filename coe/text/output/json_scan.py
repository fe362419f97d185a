"""Where a JSON object or list ends, found as its text arrives; linear. Knows nothing about what is in it."""

from __future__ import annotations

__all__ = ["JsonScan"]


class JsonScan:
    """Scans a text that grows. `end` is the place after the first object or list, None while it is open."""

    def __init__(self) -> None:
        self.end: int | None = None
        self.is_in_text = False
        self._place = self._depth = 0
        self._is_escaped = False

    def upto(self, text: str) -> JsonScan:
        """Scan what is new of the text."""
        while self.end is None and self._place < len(text):
            self._take(text[self._place])
            self._place += 1
            if self._depth == 0 and text[self._place - 1] in "}]" and not self.is_in_text:
                self.end = self._place
        return self

    def _take(self, letter: str) -> None:
        if self._is_escaped:
            self._is_escaped = False
        elif self.is_in_text:
            self._is_escaped = letter == "\\"
            self.is_in_text = letter != '"'
        elif letter == '"':
            self.is_in_text = True
        elif letter in "{[":
            self._depth += 1
        elif letter in "}]":
            self._depth -= 1
