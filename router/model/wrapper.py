"""Agents' wrappers: what an editor or an agent puts around a request, taken off before it is classified.

Owns the names of the tags: those that hold the request itself, and those that hold what the person did not write. Only
tags around the whole or at the ends of a turn are looked at: XML that somebody asks about stays. Linear in the text.
Knows nothing about categories.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["unwrapped"]

REQUEST = (
    *(
        "task",
        "user_query",
        "user_request",
        "user_message",
        "user_input",
        "user_prompt",
        "query",
        "question",
        "request",
    ),
    *("message", "prompt", "feedback"),
)
SURROUNDINGS = (
    *("environment_details", "environment_context", "environment", "env", "system-reminder", "system_reminder"),
    *("user_info", "workspace_info", "workspace", "git_status", "ide_state", "metadata", "additional_data"),
)
MAX_BLOCKS = 20  # of surroundings that are taken off


class Block(NamedTuple):
    """What stands before a tag, in it and after it."""

    before: str
    inside: str
    after: str


def unwrapped(text: str) -> str:
    """Return the request without surroundings at its ends and the tag around it; the text if nothing else is left."""
    found = text.strip()
    for _ in range(MAX_BLOCKS):
        shorter = without_surroundings(found)
        if shorter == found:
            break
        found = shorter
    for name in REQUEST:
        block = block_at_start(found, name)
        if block is not None and not block.after.strip() and block.inside.strip():
            return block.inside.strip()
    return text if found in ("", text.strip()) else found


def without_surroundings(text: str) -> str:
    """Return the text without one block of surroundings, where it begins or ends with one."""
    for name in SURROUNDINGS:
        if (block := block_at_start(text, name)) is not None:
            return block.after.strip()
        if (block := block_at_end(text, name)) is not None:
            return block.before.strip()
    return text


def block_at_start(text: str, name: str) -> Block | None:
    if not text.startswith((f"<{name}>", f"<{name} ")):
        return None
    opened, closed = text.find(">"), text.find(f"</{name}>")
    if closed < opened:
        return None
    return Block("", text[opened + 1 : closed], text[closed + len(name) + 3 :])


def block_at_end(text: str, name: str) -> Block | None:
    end = f"</{name}>"
    if not text.endswith(end):
        return None
    opened = max(text.rfind(f"<{name}>"), text.rfind(f"<{name} "))
    if opened < 0:
        return None
    closed = text.find(">", opened)
    return Block(text[:opened], text[closed + 1 : -len(end)], "")
