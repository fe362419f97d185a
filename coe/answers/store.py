"""Kept answers under a budget of bytes and a time to live, least recently used first.

Owns the entries, their order and the count of their bytes. Pure: time comes in as `now_s`. Covered by the count: the
buffers of an entry and what the tables take for it. Knows nothing about requests, vectors or what an answer holds.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

__all__ = ["AnswerStore", "Kept"]

# Python's objects and tables for an entry beside its buffers, and more where it has a group; a test measures them
ENTRY_BYTES = 300
GROUPED_BYTES = 400


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer as bytes. Those of one `group` may answer each other's prompts; without a group only its own.

    `text` is the prompt that it answered, `vectors` are the encoder's of that text.
    """

    payload: bytes
    kept_s: float
    group: bytes | None = None
    text: str = ""
    vectors: tuple[bytes, ...] = ()

    @property
    def size_bytes(self) -> int:
        if self.group is None:
            return ENTRY_BYTES + sys.getsizeof(self.payload)
        buffers = (self.payload, self.group, self.text, *self.vectors)
        return ENTRY_BYTES + GROUPED_BYTES + sum(map(sys.getsizeof, buffers))


class AnswerStore:
    """Entries by key. `num_evicted` counts those that had to make room, `num_expired` those that grew too old."""

    def __init__(self, max_bytes: int, ttl_s: float) -> None:
        self.max_bytes, self._ttl_s = max_bytes, ttl_s
        self.used_bytes = self.num_evicted = self.num_expired = 0
        self._by_use: OrderedDict[bytes, Kept] = OrderedDict()
        self._by_age: OrderedDict[bytes, None] = OrderedDict()  # all live equally long: the oldest expires first
        self._groups: dict[bytes, dict[bytes, Kept]] = {}

    def __len__(self) -> int:
        return len(self._by_use)

    def get(self, key: bytes, now_s: float) -> Kept | None:
        """Return the answer of a key, which counts as used."""
        self.expire(now_s)
        kept = self._by_use.get(key)
        if kept is not None:
            self._by_use.move_to_end(key)
        return kept

    def newest_of(self, group: bytes, most: int, now_s: float) -> Iterator[tuple[bytes, Kept]]:
        """Return at most so many keys and answers of a group, the newest first; none counts as used."""
        self.expire(now_s)
        return islice(reversed(self._groups.get(group, {}).items()), most)

    def put(self, key: bytes, kept: Kept) -> bool:
        """Keep an answer in the place of the key's former one; returns False for one that is larger than the budget."""
        self._drop(key)
        self.expire(kept.kept_s)
        if kept.size_bytes > self.max_bytes:
            return False
        while self.used_bytes + kept.size_bytes > self.max_bytes:
            self._drop(next(iter(self._by_use)))
            self.num_evicted += 1
        self._by_use[key] = kept
        self._by_age[key] = None
        if kept.group is not None:
            self._groups.setdefault(kept.group, {})[key] = kept
        self.used_bytes += kept.size_bytes
        return True

    def expire(self, now_s: float) -> None:
        """Drop what is older than its time to live."""
        while self._by_age:
            oldest = next(iter(self._by_age))
            if now_s - self._by_use[oldest].kept_s < self._ttl_s:
                return
            self._drop(oldest)
            self.num_expired += 1

    def clear(self) -> int:
        """Drop every answer; returns how many there were."""
        num = len(self)
        for entries in (self._by_use, self._by_age, self._groups):
            entries.clear()
        self.used_bytes = 0
        return num

    def check_integrity(self) -> None:
        """Raise AssertionError where the tables or the count of bytes disagree."""
        grouped = {key: kept for group in self._groups.values() for key, kept in group.items()}
        assert grouped == {key: kept for key, kept in self._by_use.items() if kept.group is not None}
        assert all(self._groups.values()), "a group without an entry"
        assert self._by_age.keys() == self._by_use.keys()
        assert self.used_bytes == sum(kept.size_bytes for kept in self._by_use.values())
        assert self.used_bytes <= self.max_bytes

    def _drop(self, key: bytes) -> None:
        kept = self._by_use.pop(key, None)
        if kept is None:
            return
        del self._by_age[key]
        self.used_bytes -= kept.size_bytes
        if kept.group is not None:
            group = self._groups[kept.group]
            del group[key]
            if not group:
                del self._groups[kept.group]
