"""A text of marks in llguidance's Lark: each token of its own by its number, for no rule for text can produce those.

Knows nothing about what the marks mean. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

__all__ = ["begins_with_a_token", "marked"]


def marked(text: str, tokens: Iterable[str], ids: Mapping[str, int]) -> str:
    """Return a text as Lark has it, those of `tokens` that have an id by it; "" for no text."""
    found = [(at, token) for token in tokens if token in ids for at in [text.find(token)] if at >= 0]
    if not found:
        return json.dumps(text, ensure_ascii=False) if text else ""
    at, token = min(found)
    parts = (marked(text[:at], tokens, ids), f"<[{ids[token]}]>", marked(text[at + len(token) :], tokens, ids))
    return " ".join(filter(None, parts))


def begins_with_a_token(text: str, ids: Mapping[str, int]) -> bool:
    """Return whether a token of its own begins the text, which no rule for text can produce."""
    return any(text.startswith(token) for token in ids)
