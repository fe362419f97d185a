"""The seam between a step and a backend: rows of tokens, their KV, and one forward pass that runs unit by unit.

A step is ragged: every sequence brings as many new tokens as it has (one when decoding, a chunk when prefilling), all
concatenated without padding, so that a token's arithmetic does not depend on its neighbours. A step can stop between
any two units, which is how compute overlaps with weights that are still being copied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from coe.weights.unit import Unit

__all__ = ["ForwardPass", "Kv", "Model", "Row", "Step", "is_decode_row"]


class Kv(Protocol):
    """One sequence's keys and values; owned by the sequence and dropped with it."""

    @property
    def length(self) -> int:
        """Tokens whose keys and values are complete in every layer."""
        ...

    def reserve(self, num_tokens: int) -> None:
        """Make room for `num_tokens` in all; the engine calls this before every step with what the job has reserved."""
        ...


@dataclass(frozen=True, slots=True)
class Row:
    """One sequence's part of a step: `token_ids` follow the `kv.length` tokens that the sequence has already.

    `num_logits` is how many of the last tokens need logits: none for a chunk inside a prompt, several where the prompt
    is scored. `is_prompt`: the first of the tokens belongs to the prompt, not to the answer. `second_from` is where the
    second text of a pair begins, for models that tell the two apart.
    """

    token_ids: tuple[int, ...]
    kv: Kv
    num_logits: int = 1
    is_prompt: bool = False
    second_from: int | None = None


def is_decode_row(row: Row) -> bool:
    """Return whether the row brings one token of an answer and needs the logits after it."""
    return len(row.token_ids) == row.num_logits == 1 and not row.is_prompt


class ForwardPass(Protocol):
    """One forward pass under way."""

    def run_unit(self, index: int, weights: Any) -> None:
        """Run unit `index` with what `Model.bind` made of it; units come in order."""
        ...

    def attach(self, first: Any) -> None:
        """Replace the first unit's weights, which a tied head needs again: the bytes may have moved."""
        ...

    def logits(self) -> torch.Tensor:
        """Return float32 logits, (sum of the rows' num_logits, vocab), and count the new tokens as complete.

        Call once, after the last unit.
        """
        ...


class Model(Protocol):
    """A backend: it runs one architecture in one arithmetic, with whatever expert's units are handed in.

    Built once per architecture and arithmetic; not thread-safe. `backend` names it, for example
    `llama/cpu-compiled/bf16`. A model that `runs_by_unit` needs no unit but the first after having run it, so an expert
    larger than the device can stream through. A model that `copies_kv` lets a sequence begin with the leading tokens of
    another sequence.
    """

    @property
    def backend(self) -> str: ...
    @property
    def runs_by_unit(self) -> bool: ...
    @property
    def copies_kv(self) -> bool: ...

    def bind(self, unit: Unit, flat: torch.Tensor) -> Any:
        """Return views over a unit's flat bytes in the form that a pass wants; no byte is copied."""
        ...

    def kv_bytes(self, num_tokens: int) -> int:
        """Return the bytes of KV that `num_tokens` of one sequence take at most."""
        ...

    def new_kv(self, num_tokens: int) -> Kv:
        """Return empty KV for a sequence that can grow to `num_tokens`."""
        ...

    def copy_kv(self, kv: Kv, num_tokens: int, room: int) -> Kv:
        """Return KV that starts with the first `num_tokens` of `kv` and can grow to `room` tokens."""
        ...

    def begin(self, rows: Sequence[Row], *, is_whole: bool = False) -> ForwardPass:
        """Begin a forward pass; `is_whole` promises that all units are on the device and stay until the pass ends."""
        ...

    def close(self) -> None:
        """Free what the model holds on its device; it runs nothing after this."""
        ...

    def check_integrity(self) -> None:
        """Raise AssertionError if what the model holds on its device is not accounted for."""
        ...


class Step:
    """One forward pass that can pause wherever the next unit is absent."""

    def __init__(self, model: Model, rows: Sequence[Row], num_units: int, *, is_whole: bool = False) -> None:
        self._pass = model.begin(rows, is_whole=is_whole)
        self.num_logits = [row.num_logits for row in rows]
        self.num_units = num_units
        self.next_unit = 0

    @property
    def is_done(self) -> bool:
        return self.next_unit == self.num_units

    def advance(self, num_ready: int, weights_of: Callable[[int], Any]) -> None:
        """Run the units that have not run yet and whose index is below `num_ready`, each with `weights_of(index)`.

        The first unit is bound anew before the last one runs: since it ran it may have moved, from the host's memory to
        the device's or within the device's.
        """
        with torch.inference_mode():
            while self.next_unit < num_ready:
                if self.next_unit == self.num_units - 1:
                    self._pass.attach(weights_of(0))
                self._pass.run_unit(self.next_unit, weights_of(self.next_unit))
                self.next_unit += 1

    def logits(self) -> torch.Tensor:
        """Return float32 logits, (sum of `num_logits`, vocab)."""
        assert self.is_done
        with torch.inference_mode():
            return self._pass.logits()
