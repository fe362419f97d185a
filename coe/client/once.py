"""What is read once: a second reading, and one after the end, is refused with what to do instead."""

from __future__ import annotations

from coe.errors import StreamError

__all__ = ["Once"]


class Once:
    """Whether the stream or whatever `what` names may still be read."""

    def __init__(self, what: str) -> None:
        self._what, self._is_begun, self._is_closed = what, False, False

    def begin(self) -> None:
        """Begin to read; raises StreamError where that has been done or is too late."""
        if self._is_begun:
            raise StreamError(f"this {self._what} is read already; keep what it gave, or ask again for a new one")
        if self._is_closed:
            raise StreamError(f"this {self._what} is closed; read it inside its `with` block, or ask again")
        self._is_begun = True

    def close(self) -> None:
        self._is_closed = True
