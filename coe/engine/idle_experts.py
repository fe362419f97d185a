"""Experts whose keep-alive is over are unloaded: which ones, and when the next one is due."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from coe.engine.loaded_expert import LoadedExpert

__all__ = ["IdleExperts"]


class IdleExperts:
    """The keep-alive of every expert that has one; `last_used_s` is when an expert was last used, None if never."""

    def __init__(self, experts: Mapping[str, LoadedExpert], last_used_s: Callable[[str], float | None]) -> None:
        self._keep_alive_s = {
            name: expert.keep_alive_s for name, expert in experts.items() if expert.keep_alive_s is not None
        }
        self._last_used_s = last_used_s

    def keep(self, expert: str, keep_alive_s: float) -> None:
        """Give an expert another keep-alive; inf for none."""
        self._keep_alive_s[expert] = keep_alive_s

    def expired(self, now_s: float) -> list[str]:
        """Return the experts that have been idle for longer than their keep-alive."""
        return [name for name, due_s in self._due() if due_s <= now_s]

    def next_due_s(self, now_s: float) -> float | None:
        """Return when the next keep-alive ends, None if none will."""
        return min((due_s for _, due_s in self._due() if due_s > now_s), default=None)

    def _due(self) -> Iterator[tuple[str, float]]:
        for name, keep_alive_s in self._keep_alive_s.items():
            last_s = self._last_used_s(name)
            if last_s is not None:
                yield name, last_s + keep_alive_s
