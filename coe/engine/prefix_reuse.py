"""Prefix reuse: a new sequence starts from a copy of KV whose tokens begin like its own, instead of computing it.

Owns the KV of ended answers, kept for the next turn of their conversation, and the choice of a donor. Kept KV takes
only bytes that no running sequence has reserved: it is trimmed before every step, least recently used first. KV goes
from one sequence to another only within a prefix group: what it saves would tell others what was asked.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from coe.engine.live_sequences import LiveSequences
from coe.engine.sequence import Sequence
from coe.models.model import Kv, Model

__all__ = ["MIN_TOKENS", "Prefix", "PrefixCache", "PrefixReuse", "Shelf", "num_common"]

MIN_TOKENS = 16  # fewer are computed faster than they are worth keeping


class Prefix(NamedTuple):
    """Leading tokens that a kept KV shares with a new sequence."""

    kv: Kv
    num_tokens: int


class Shelf(NamedTuple):
    """Where KV is kept: the expert that made it, and the group that may see it."""

    expert: str
    group: str


class _Kept(NamedTuple):
    kv: Kv
    size_bytes: int


class PrefixCache:
    """Kept KV by expert, prefix group and tokens. Owned by the engine thread."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Shelf, tuple[int, ...]], _Kept] = OrderedDict()  # least recently used first
        self.used_bytes = 0

    def put(self, shelf: Shelf, token_ids: tuple[int, ...], kv: Kv, size_bytes: int) -> None:
        """Keep the KV of these tokens; shorter beginnings of them are not needed any more."""
        for key in [key for key in self._kept if key[0] == shelf and token_ids[: len(key[1])] == key[1]]:
            self._drop(key)
        self._kept[shelf, token_ids] = _Kept(kv, size_bytes)
        self.used_bytes += size_bytes

    def longest(self, shelf: Shelf, token_ids: tuple[int, ...]) -> Prefix | None:
        """The kept KV that shares most of these leading tokens; None below MIN_TOKENS."""
        shared = {key: num_common(key[1], token_ids) for key in self._kept if key[0] == shelf}
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

    def _drop(self, key: tuple[Shelf, tuple[int, ...]]) -> None:
        self.used_bytes -= self._kept.pop(key).size_bytes

    def check_integrity(self) -> None:
        """Raise AssertionError if the bytes do not add up."""
        assert self.used_bytes == sum(kept.size_bytes for kept in self._kept.values())


class PrefixReuse:
    """Gives a new sequence the KV of leading tokens that another sequence has computed.

    The donor is the first choice of the same request while it runs, else an ended sequence whose KV is kept. Kept KV
    takes at most what no running sequence has reserved of `kv_bytes`. With `keeps` False nothing outlives its sequence.
    """

    def __init__(self, sequences: LiveSequences, used_bytes: Callable[[], int], kv_bytes: int, *, keeps: bool) -> None:
        self._sequences, self._used_bytes, self._kv_bytes = sequences, used_bytes, kv_bytes
        self._kept = PrefixCache() if keeps else None

    def donor(self, sequence: Sequence, model: Model) -> Sequence | None:
        """Return the first choice of the sequence's request, if copying the prompt that they share is worth it."""
        donor = self._sequences.get(sequence.prompt_donor)
        return (
            donor if isinstance(donor, Sequence) and model.copies_kv and sequence.num_reusable >= MIN_TOKENS else None
        )

    def new_kv(self, sequence: Sequence, model: Model) -> Kv:
        """Return KV for a sequence, with as many of its leading tokens as can be copied."""
        found = self._of_donor(sequence, model) or self._of_ended(sequence)
        if found is None:
            return model.new_kv(sequence.job.num_tokens_max)
        return model.copy_kv(found.kv, found.num_tokens, sequence.job.num_tokens_max)

    def keep(self, sequence: Sequence, model: Model) -> None:
        """Leave an ended sequence's KV to the next turn of its conversation."""
        if self._kept is None or not model.copies_kv or sequence.kv is None or sequence.kv.length < MIN_TOKENS:
            return
        length = sequence.kv.length
        self._kept.put(shelf_of(sequence), sequence.known_ids(0, length), sequence.kv, model.kv_bytes(length))

    def trim(self) -> None:
        """Free kept KV beyond what running sequences leave."""
        if self._kept is not None:
            self._kept.trim(self._kv_bytes - self._used_bytes())

    def _of_donor(self, sequence: Sequence, model: Model) -> Prefix | None:
        donor = self.donor(sequence, model)
        if donor is None or donor.kv is None:
            return None
        self.trim()
        shared = num_common(donor.known_ids(0, donor.kv.length), sequence.known_ids(0, sequence.num_reusable))
        return Prefix(donor.kv, shared)

    def _of_ended(self, sequence: Sequence) -> Prefix | None:
        """Return a kept prefix that is still there when this step has the room that it reserved."""
        if self._kept is None:
            return None
        found = self._kept.longest(shelf_of(sequence), sequence.known_ids(0, sequence.num_reusable))
        self.trim()  # frees last what was just found
        return found if found is not None and found in self._kept else None

    def check_integrity(self) -> None:
        """Raise AssertionError if kept and reserved KV exceed the budget."""
        if self._kept is not None:
            self._kept.check_integrity()
            assert self._kept.used_bytes + self._used_bytes() <= self._kv_bytes


def shelf_of(sequence: Sequence) -> Shelf:
    return Shelf(sequence.expert, sequence.prefix_group)


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
