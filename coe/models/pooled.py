"""The backend of embedding and rerank experts: transformers' own modules, a whole text at a time.

What a row's logits are for other experts is here its vector, or its score. Texts run one after another without padding,
so batched equals alone by construction. Attention looks both ways, so a text runs whole in one step and leaves no KV.
A step needs all units before it computes.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from coe.models.llama.shape import TORCH_DTYPES
from coe.models.llama.torch_llama import dtype_name
from coe.models.model import Kv, Row
from coe.models.skeleton import Skeleton, views_of
from coe.sources.sentence_files import PoolingMode, Scoring
from coe.weights.unit import Manifest, Unit

__all__ = ["PooledModel", "Reading", "normalised", "pooled", "score"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What is read of the last states: a vector (`mode`), perhaps of length 1, or a score of a pair (`scoring`)."""

    mode: PoolingMode = "mean"
    is_normalised: bool = False
    scoring: Scoring | None = None


class _NoKv:
    """A text's place in the Kv seam: it counts tokens and keeps nothing of them."""

    def __init__(self) -> None:
        self.length = 0

    def reserve(self, num_tokens: int) -> None:
        """There is nothing to make room for."""


class PooledModel:
    """Runs any expert of one configuration and reading; holds a skeleton, no weights.

    `max_tokens` is what the network has positions for, None where it has no table of them; `num_dims` the size of a
    row's logits; token ids are below `num_rows`.
    """

    runs_by_unit = False
    copies_kv = False

    def __init__(self, manifest: Manifest, device: torch.device, reading: Reading) -> None:
        self.device, self.reading = device, reading
        self.num_units = len(manifest.units)
        self._skeleton = Skeleton(manifest, device, "embedding" if reading.scoring is None else "rerank")
        module = self._skeleton.module
        takes = inspect.signature(module.forward).parameters
        self._tells_apart = "token_type_ids" in takes and getattr(module.config, "type_vocab_size", 1) > 1
        self._settings = {"use_cache": False} if "use_cache" in takes else {}
        self.max_tokens = _num_positions(module)
        self.num_dims = 1 if reading.scoring else int(module.config.get_text_config().hidden_size)
        self.num_rows = int(module.get_input_embeddings().num_embeddings)
        dtype = TORCH_DTYPES[next(spec.dtype for unit in manifest.units for spec in unit.tensors)]
        what = "vectors" if reading.scoring is None else "scores"
        self.backend = f"{what}/torch/{dtype_name(dtype)}"

    def bind(self, unit: Unit, flat: Tensor) -> dict[str, Tensor]:
        return views_of(unit, flat)

    def kv_bytes(self, num_tokens: int) -> int:
        del num_tokens
        return 0

    def new_kv(self, num_tokens: int) -> Kv:
        del num_tokens
        return _NoKv()

    def copy_kv(self, kv: Kv, num_tokens: int, room: int) -> Kv:
        del kv, num_tokens, room
        raise AssertionError("there is no KV to copy")

    def begin(self, rows: Sequence[Row], *, is_whole: bool = False) -> _Pass:  # noqa: ARG002
        assert all(row.kv.length == 0 and row.num_logits == 1 for row in rows), "a text runs whole"
        return _Pass(self, rows)

    def close(self) -> None:
        """Do nothing: the skeleton lives in the process's own memory."""

    def check_integrity(self) -> None:
        """Do nothing, as `close`."""

    def run(self, rows: Sequence[Row], tensors: Mapping[str, Tensor]) -> Tensor:
        """Return (rows, num_dims) float32: what is read of each text, one after another."""
        with self._skeleton.pointed_at(tensors) as module:
            return torch.stack([self._run(module, row) for row in rows])

    def _run(self, module: Any, row: Row) -> Tensor:
        inputs = {"input_ids": torch.tensor([row.token_ids], device=self.device)}
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        if row.second_from is not None and self._tells_apart:
            places = torch.arange(len(row.token_ids), device=self.device)
            inputs["token_type_ids"] = (places >= row.second_from).long()[None]
        out = module(**inputs, **self._settings)
        assert isinstance(row.kv, _NoKv)
        row.kv.length = len(row.token_ids)
        if self.reading.scoring is not None:
            return score(out.logits[0].float(), self.reading.scoring)
        vector = pooled(out.last_hidden_state[0].float(), self.reading.mode)
        return normalised(vector) if self.reading.is_normalised else vector


class _Pass:
    """One forward pass: it collects the units' parameters and runs at the last one; see `model.ForwardPass`."""

    def __init__(self, model: PooledModel, rows: Sequence[Row]) -> None:
        self._model, self._rows = model, rows
        self._bound: dict[str, Tensor] = {}
        self._read: Tensor | None = None

    def run_unit(self, index: int, weights: Mapping[str, Tensor]) -> None:
        self._bound.update(weights)
        if index == self._model.num_units - 1:
            self._read = self._model.run(self._rows, self._bound)
            self._bound.clear()

    def attach(self, first: Mapping[str, Tensor]) -> None:
        self._bound.update(first)

    def logits(self) -> Tensor:
        assert self._read is not None
        return self._read


def pooled(states: Tensor, mode: PoolingMode) -> Tensor:
    """Return (hidden,) from (tokens, hidden)."""
    if mode == "mean":
        return states.mean(0)
    if mode == "max":
        return states.amax(0)
    return states[0] if mode == "cls" else states[-1]


def normalised(vector: Tensor) -> Tensor:
    return nn.functional.normalize(vector, dim=0)


def score(logits: Tensor, scoring: Scoring) -> Tensor:
    """Return (1,) from (labels,): a probability, or the logit itself."""
    if scoring == "second":
        return logits.softmax(0)[1:]
    return logits.sigmoid() if scoring == "sigmoid" else logits


def _num_positions(module: nn.Module) -> int | None:
    """Return how many tokens have a learned position; RoBERTa and its kin leave those up to the padding's out."""
    for name, part in module.named_modules():
        if name.endswith("position_embeddings") and isinstance(part, nn.Embedding):
            return part.num_embeddings - (0 if part.padding_idx is None else part.padding_idx + 1)
    most = getattr(module.config, "max_position_embeddings", None)
    return None if most is None else int(most)
