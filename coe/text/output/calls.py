"""Calls of tools apart from the text for people, piece by piece, however the text is cut.

A call goes out when it is whole: what turns out to be none (no JSON, a tool that was not offered, an end that never
comes) is text, as it was written. Blanks beside a call are layout and left out. Knows nothing about thoughts.
"""

from __future__ import annotations

from collections.abc import Sequence

from coe.text.output.call_formats import Block, CallFormat
from coe.text.output.call_texts import Schemas
from coe.text.output.json_scan import JsonScan
from coe.text.output.parts import Part, Said, overlap

__all__ = ["CallReader"]

_BLANKS_BETWEEN = " \t\r\n,;"


class CallReader:
    """Reads one answer. `schemas` has the tools that may be called; `hidden` are tokens that no text may show."""

    def __init__(self, format: CallFormat, schemas: Schemas, hidden: Sequence[str] = ()) -> None:
        self._blocks, self._schemas, self._hidden = format.blocks, schemas, tuple(hidden)
        self._marks = (*(block.opening for block in format.blocks if not block.is_first), *hidden)
        self._held = ""
        self._block: Block | None = None  # of which the held text is the beginning
        self._scan = JsonScan()
        self._num_searched = 0
        self._layout = ""  # blanks before the open block
        self._is_first = True  # nothing has been said yet, so that a bare call may begin
        self._follows_call = False

    def push(self, text: str) -> list[Part]:
        self._held += text
        parts: list[Part] = []
        while self._block is not None or self._held:
            if self._block is None and not self._open(parts):
                break
            end = self._end()
            if end is None:
                break
            parts += self._read(end)
        return parts

    def finish(self) -> list[Part]:
        """Return what was held back; a block that is not closed may have calls all the same."""
        parts: list[Part] = []
        while self._block is not None:
            parts += self._read(len(self._held))
            parts += self.push("")
        held, self._held = self._held, ""
        if held.strip() or not self._follows_call:
            parts += self._said(held)
        return parts

    def _open(self, parts: list[Part]) -> bool:
        """Send the text before the next block and open it; without one send what can begin none, and return False."""
        found = [(at, block) for block in self._blocks if (at := self._find(block)) >= 0]
        if not found:
            num_ready = self._num_ready()
            ready, self._held = self._held[:num_ready], self._held[num_ready:]
            parts += self._said(ready)
            return False
        start, block = min(found, key=lambda each: each[0])
        before, self._held = self._held[:start], self._held[start:]
        said = before.rstrip(_BLANKS_BETWEEN if self._follows_call else None)
        self._layout = before[len(said) :]
        parts += self._said(said)
        self._block, self._scan, self._num_searched = block, JsonScan(), len(block.opening)
        return True

    def _find(self, block: Block) -> int:
        """Return where the block begins in the held text, -1 where it does not."""
        if not block.is_first:
            return self._held.find(block.opening)
        begun = self._held.lstrip(_BLANKS_BETWEEN if self._follows_call else None)
        return len(self._held) - len(begun) if self._is_first and begun.startswith(block.opening) else -1

    def _num_ready(self) -> int:
        """Return how much of the held text can be sent: no beginning of a block, and no blanks that may end it."""
        held = self._held
        if self._is_first:
            begun = held.lstrip(_BLANKS_BETWEEN if self._follows_call else None)
            if any(block.is_first and block.opening.startswith(begun) for block in self._blocks):
                return 0
        return len(held[: len(held) - overlap(held, self._marks)].rstrip())

    def _end(self) -> int | None:
        """Return where the open block ends, None as long as that is not known."""
        block, held = self._block, self._held
        assert block is not None
        if block.ends_with == "json":
            return self._scan.upto(held).end
        if not block.closing:
            return None
        while (at := held.find(block.closing, max(0, self._num_searched - len(block.closing)))) >= 0:
            end = at + len(block.closing)
            if not self._is_in_text(held[len(block.opening) : at]):
                return end
            self._num_searched = end + len(block.closing)
        self._num_searched = max(self._num_searched, len(held))
        return None

    def _is_in_text(self, inner: str) -> bool:
        """Return whether JSON is open in the middle of a string, so that a mark in it is none."""
        return inner.lstrip().startswith(("{", "[")) and JsonScan().upto(inner).is_in_text

    def _read(self, end: int) -> list[Part]:
        """Return the open block's calls, or the text that it is after all."""
        assert self._block is not None
        block, self._block = self._block, None
        text, self._held = self._held[:end], self._held[end:]
        calls, rest = block.read(text, self._schemas)
        if not calls or any(call.name not in self._schemas for call in calls):
            return list[Part](self._said(self._layout + text))
        self._follows_call = True
        self._held = rest + self._held
        return list[Part](calls)

    def _said(self, text: str) -> list[Said]:
        for token in self._hidden:
            text = text.replace(token, "")
        if not text or (self._follows_call and not text.strip()):
            return []
        self._is_first = self._is_first and not text.strip()
        if self._follows_call:
            text, self._follows_call = text.lstrip(), False
        return [Said(text)]
