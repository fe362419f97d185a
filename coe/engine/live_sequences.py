"""The sequences that the engine has taken in and not yet ended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from coe.engine.pooled_sequence import PooledSequence
from coe.engine.sequence import Sequence
from coe.errors import CoeError, InvalidRequestError

__all__ = ["LiveSequence", "LiveSequences"]

LiveSequence: TypeAlias = Sequence | PooledSequence


class LiveSequences:
    """Sequences by id. Owned by the engine thread."""

    def __init__(self) -> None:
        self._sequences: dict[str, LiveSequence] = {}

    def __getitem__(self, sequence_id: str) -> LiveSequence:
        return self._sequences[sequence_id]

    def __contains__(self, sequence_id: str) -> bool:
        return sequence_id in self._sequences

    def __iter__(self) -> Iterator[LiveSequence]:
        return iter(list(self._sequences.values()))

    def __len__(self) -> int:
        return len(self._sequences)

    def get(self, sequence_id: str | None) -> LiveSequence | None:
        return None if sequence_id is None else self._sequences.get(sequence_id)

    def check_new(self, sequences: Iterable[LiveSequence]) -> None:
        """Raise InvalidRequestError where an id is in use."""
        for sequence in sequences:
            if sequence.id in self._sequences:
                raise InvalidRequestError(f"request id '{sequence.id}' is in use; give every request its own")

    def add(self, sequence: LiveSequence) -> None:
        self._sequences[sequence.id] = sequence

    def forget(self, sequence_id: str) -> None:
        """Remove a sequence that has ended and free its KV."""
        self._sequences.pop(sequence_id).free_kv()  # the request's coroutine may hold the sequence for longer

    def fail(self, sequence_id: str, error: CoeError) -> None:
        """End a sequence with an error."""
        sequence = self._sequences[sequence_id]
        self.forget(sequence_id)
        sequence.sink(error)

    def fail_expert(self, expert: str, error: CoeError) -> None:
        for sequence in self:
            if sequence.expert == expert:
                self.fail(sequence.id, error)

    def fail_all(self, error: CoeError) -> None:
        """End every sequence with an error: first all are told, so that none is left out where freeing KV fails."""
        for sequence in self:
            sequence.sink(error)
        for sequence in self:
            self.forget(sequence.id)
