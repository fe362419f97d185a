"""gpt-oss's form of answers, "harmony": messages in channels, of which some call functions.

analysis is thought, final and commentary without a recipient are text, a message to functions.<name> is a call.
Source: OpenAI's harmony response format. Covered: any cut of the text; a message that is no call stays text.
"""

from __future__ import annotations

import re

from coe.text.output.call_json import arguments_text
from coe.text.output.call_texts import Schemas
from coe.text.output.parts import Called, Part, Said, Thought, overlap

__all__ = ["HarmonyReader"]

_ENDS = ("<|end|>", "<|call|>", "<|return|>", "<|start|>", "<|channel|>")
_MESSAGE = "<|message|>"
_TOKENS = (*_ENDS, _MESSAGE, "<|constrain|>")
_END = re.compile("|".join(map(re.escape, _ENDS)))
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)")
_BEGINNINGS = (*_TOKENS, "to=")  # of a header; the prompt ends after the role, so that a recipient may come first
_RECIPIENT = re.compile(r"to=functions\.([\w.:/-]+)")


class HarmonyReader:
    """Reads one answer. `schemas` has the functions that may be called."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas
        self._held = ""
        self._header = ""
        self._is_body = False
        self._has_begun = False
        self._call = ""  # the function that the message under way calls

    @property
    def is_thinking(self) -> bool:
        return self._is_body and self._is_thought

    @property
    def _is_thought(self) -> bool:
        channels = _CHANNEL.findall(self._header)  # a model may name one, and then another after all
        return channels[-1:] == ["analysis"] and not self._call

    def push(self, text: str) -> list[Part]:
        self._held += text
        if not self._has_begun and (begun := self._held.lstrip()):
            if any(beginning.startswith(begun) and beginning != begun for beginning in _BEGINNINGS):
                return []
            self._has_begun, self._is_body = True, not begun.startswith(("<|", "to="))
        parts: list[Part] = []
        while self._has_begun and self._held:
            if not (self._read_body(parts) if self._is_body else self._read_header()):
                break
        return parts

    def finish(self) -> list[Part]:
        held, self._held = self._held, ""
        if not self._is_body:
            return self._said(held) if held.strip() and not self._header and "<|" not in held else []
        return self._ended(held)

    def _read_header(self) -> bool:
        header, mark, after = self._held.partition(_MESSAGE)
        if not mark:
            return False
        self._header, self._held, self._is_body = header, after, True
        named = _RECIPIENT.search(header)
        self._call = named[1] if named is not None and named[1] in self._schemas else ""
        return True

    def _read_body(self, parts: list[Part]) -> bool:
        found = _END.search(self._held)
        if found is not None:
            body, self._held = self._held[: found.start()], self._held[found.start() :]
            parts += self._ended(body)
            self._is_body, self._header = False, ""
            self._held = self._held[len(found[0]) :] if found[0] not in ("<|start|>", "<|channel|>") else self._held
            return True
        if self._call:
            return False  # a call goes out when it is whole
        ready = len(self._held) - overlap(self._held, _TOKENS)
        body, self._held = self._held[:ready], self._held[ready:]
        parts += self._said(body)
        return False

    def _ended(self, body: str) -> list[Part]:
        if self._call:
            arguments = arguments_text(body.strip() or "{}")
            if arguments is not None:
                return [Called(self._call, arguments)]
        return self._said(body)

    def _said(self, text: str) -> list[Part]:
        for token in _TOKENS:
            text = text.replace(token, "")
        if not text:
            return []
        return [Thought(text) if self._is_thought else Said(text)]
