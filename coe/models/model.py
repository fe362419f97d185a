"""What one forward pass is made of: rows of tokens, their KV, and the seam between a step and a model.

A step is ragged: every sequence brings as many new tokens as it has (one when decoding, a chunk when prefilling), all
concatenated without padding, so that a token's arithmetic does not depend on its neighbours. It runs unit by unit and
can stop between any two, which is how compute overlaps with weights that are still on their way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from coe.weights.unit import Unit

__all__ = ["Kv", "Model", "Row", "Step"]


class Kv(Protocol):
    """One sequence's keys and values; owned by the sequence, dropped with it."""

    @property
    def length(self) -> int:
        """Tokens whose keys and values are complete in every layer."""
        ...

    def reserve(self, num_tokens: int) -> None:
        """Have room for so many tokens in all; called before every step, with what the scheduler has booked."""
        ...


@dataclass(frozen=True, slots=True)
class Row:
    """One sequence's part of a step: `token_ids` follow the `kv.length` tokens that it has already.

    Logits are wanted after the last `num_logits` of them: none for a piece of a prompt, several where it is scored.
    """

    token_ids: tuple[int, ...]
    kv: Kv
    num_logits: int = 1


class Model(Protocol):
    """One architecture, built once, run with whatever expert's units are handed in. Not thread-safe.

    One that `runs_by_unit` needs no unit but the first after having run it, so that an expert larger than the device
    can stream through. One that `copies_kv` lets a sequence begin with leading tokens of another.
    """

    @property
    def runs_by_unit(self) -> bool: ...
    @property
    def copies_kv(self) -> bool: ...

    def bind(self, unit: Unit, flat: torch.Tensor) -> Any:
        """Views over a unit's flat bytes, as `run_unit` wants them; nothing is copied."""
        ...

    def kv_bytes(self, num_tokens: int) -> int:
        """Bytes of KV that so many tokens of a sequence take at most."""
        ...

    def new_kv(self, num_tokens: int) -> Kv:
        """Empty KV of a sequence that can come to `num_tokens`."""
        ...

    def copy_kv(self, kv: Kv, num_tokens: int, room: int) -> Kv:
        """KV of a sequence that can come to `room` tokens, with the first `num_tokens` of `kv`; if it `copies_kv`."""
        ...

    def begin(self, rows: Sequence[Row]) -> Any:
        """The state of a step before its first unit."""
        ...

    def run_unit(self, index: int, weights: Any, state: Any) -> None:
        """Advance the state by one unit; a model with tied embeddings keeps what it needs from unit 0."""
        ...

    def attach(self, first: Any, state: Any) -> None:
        """Take the first unit's weights again before the last unit: what it ran with may have moved."""
        ...

    def logits(self, state: Any) -> torch.Tensor:
        """Float32 logits after the last `num_logits` tokens of each row, row after row, (sum of them, vocab).

        Call once, after the last unit.
        """
        ...


class Step:
    """One forward pass that can pause wherever the next unit is absent."""

    def __init__(self, model: Model, rows: Sequence[Row], num_units: int) -> None:
        self._model = model
        self._state = model.begin(rows)
        self.num_logits = [row.num_logits for row in rows]
        self.num_units = num_units
        self.next_unit = 0

    @property
    def is_done(self) -> bool:
        return self.next_unit == self.num_units

    def advance(self, num_ready: int, weights_of: Callable[[int], Any]) -> None:
        """Run units up to the first absent one; `num_ready` leading units are present.

        The first unit's weights are taken again before the last unit: they may have moved since, or have been the
        host's.
        """
        with torch.inference_mode():
            while self.next_unit < num_ready:
                if self.next_unit == self.num_units - 1:
                    self._model.attach(weights_of(0), self._state)
                self._model.run_unit(self.next_unit, weights_of(self.next_unit), self._state)
                self.next_unit += 1

    def logits(self) -> torch.Tensor:
        """(sum of `num_logits`, vocab), float32."""
        assert self.is_done
        with torch.inference_mode():
            return self._model.logits(self._state)
