"""Keys and values of answers that have ended, kept for the next turn of their conversation.

A new sequence of the same expert whose tokens begin like a kept one starts from a copy instead of computing them again.
What is kept takes only bytes that no running sequence has booked: the engine trims it before every step.
Knows nothing about models or schedules; least recently used goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from coe.models.model import Kv

__all__ = ["MIN_TOKENS", "Prefix", "PrefixCache", "num_common"]

MIN_TOKENS = 16  # fewer are computed faster than they are worth keeping


class Prefix(NamedTuple):
    """Leading tokens that a kept KV shares with a new sequence."""

    kv: Kv
    num_tokens: int


class _Kept(NamedTuple):
    kv: Kv
    size_bytes: int


class PrefixCache:
    """Kept KV by expert and tokens. Owned by the engine thread."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, tuple[int, ...]], _Kept] = OrderedDict()  # least recently used first
        self.used_bytes = 0

    def put(self, expert: str, token_ids: tuple[int, ...], kv: Kv, size_bytes: int) -> None:
        """Keep the KV of these tokens; shorter beginnings of them are not needed any more."""
        for key in [key for key in self._kept if key[0] == expert and token_ids[: len(key[1])] == key[1]]:
            self._drop(key)
        self._kept[expert, token_ids] = _Kept(kv, size_bytes)
        self.used_bytes += size_bytes

    def longest(self, expert: str, token_ids: tuple[int, ...]) -> Prefix | None:
        """The kept KV that shares most of these leading tokens; None below MIN_TOKENS."""
        shared = {key: num_common(key[1], token_ids) for key in self._kept if key[0] == expert}
        best = max(shared, key=lambda key: shared[key], default=None)
        if best is None or shared[best] < MIN_TOKENS:
            return None
        self._kept.move_to_end(best)
        return Prefix(self._kept[best].kv, shared[best])

    def __contains__(self, found: Prefix) -> bool:
        """Whether it is still kept."""
        return any(kept.kv is found.kv for kept in self._kept.values())

    def trim(self, budget_bytes: int) -> None:
        """Let go of what was not used for longest until at most `budget_bytes` are kept."""
        while self._kept and self.used_bytes > budget_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: tuple[str, tuple[int, ...]]) -> None:
        self.used_bytes -= self._kept.pop(key).size_bytes

    def check_integrity(self) -> None:
        """Raise AssertionError if the bytes are booked wrongly."""
        assert self.used_bytes == sum(kept.size_bytes for kept in self._kept.values())


def num_common(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    """How many leading tokens are equal, by bisection: slices are compared in C."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
