"""A user turn under a system turn, as the one text that is classified.

Owns the form, which training and serving share. Knows nothing about conversations.
"""

from __future__ import annotations

__all__ = ["under_system"]


def under_system(system: str, user: str) -> str:
    """Return a user turn and the system turn above it as the one text that is classified."""
    return f"{system.strip()}\n\n{user}" if system.strip() else user
