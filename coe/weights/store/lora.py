"""A plain LoRA adapter in PEFT's format, merged into one weight at a time: W + scale * B A, in float32.

Covered: rank and rank_pattern, rsLoRA's scale, transposed (Conv1D) weights. Not covered, and refused by the catalogue:
DoRA, biases, saved modules, alpha patterns. Sources: Hu et al., LoRA (arXiv 2106.09685); rsLoRA (arXiv 2312.03732).
Knows nothing about units or the store.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from coe.errors import WeightsError
from coe.sources.json_files import json_object
from coe.weights.store.checkpoint import Checkpoint

__all__ = ["BASE_RECORD", "LoraAdapter"]

BASE_RECORD = "coe_base.json"  # in an adapter's folder: which base it was trained on

_NAME = re.compile(r"base_model\.model\.(.+)\.lora_([AB])\.weight")


class LoraAdapter:
    """An open adapter."""

    def __init__(self, expert: str, folder: Path) -> None:
        self.expert = expert
        self._settings = json_object(expert, folder / "adapter_config.json")
        self._file = folder / "adapter_model.safetensors"
        self._checkpoint = Checkpoint(expert, [self._file])
        self._pairs: dict[str, dict[str, str]] = {}  # parameter -> {"A": tensor name, "B": tensor name}
        try:
            self._pair_up()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._checkpoint.close()

    @property
    def targets(self) -> frozenset[str]:
        """The names of the parameters that the adapter changes."""
        return frozenset(self._pairs)

    def check_shapes(self, name: str, shape: tuple[int, ...]) -> None:
        """Raise WeightsError if the factors for a parameter of the base are no pair or give another shape than its."""
        for tensor in self._pairs[name].values():
            self._checkpoint.check_float(tensor)
        a, b = (self._checkpoint.shape(self._pairs[name][factor]) for factor in "AB")
        if len(a) != 2 or len(b) != 2 or a[0] != b[1] or 0 in (*a, *b):
            raise WeightsError(
                self.expert,
                f"{self._file}: lora_A {a} and lora_B {b} of {name} are no pair of matrices; fetch it again",
            )
        ranks = {self._settings["r"], *(self._settings.get("rank_pattern") or {}).values()}
        if a[0] not in ranks:
            known = ", ".join(map(str, sorted(ranks)))
            raise WeightsError(
                self.expert,
                f"{self._file}: {name} has rank {a[0]} and adapter_config.json says {known}; fetch both again",
            )
        merged = (a[1], b[0]) if self._settings.get("fan_in_fan_out") else (b[0], a[1])
        if merged != shape:
            raise WeightsError(
                self.expert,
                f"the adapter's {name} is {merged} and its base's is {shape}; it was trained on another base, "
                f"'{self.made_for}': name that base with base = ...",
            )

    @property
    def made_for(self) -> str:
        """The base that the adapter's own configuration names."""
        return self._settings.get("base_model_name_or_path") or "unnamed"

    @property
    def recorded_base(self) -> str | None:
        """The hash of the base's weights that `record_base` has left in the adapter's folder."""
        file = self._file.with_name(BASE_RECORD)
        recorded = json_object(self.expert, file).get("weights") if file.is_file() else None
        return None if recorded is None else str(recorded)

    def merge(self, name: str, weight: torch.Tensor) -> torch.Tensor:
        """Return the merged weight in float32; the shapes must have been checked."""
        pair = self._pairs[name]
        a, b = (self._checkpoint.read(pair[factor]).float() for factor in "AB")  # (rank, in), (out, rank)
        rank = a.shape[0]
        delta = (b @ a) * (self._settings["lora_alpha"] / (rank**0.5 if self._settings.get("use_rslora") else rank))
        return weight.float().add(delta.T if self._settings.get("fan_in_fan_out") else delta)

    def _pair_up(self) -> None:
        if not self._checkpoint.names:
            raise WeightsError(self.expert, f"{self._file} has no tensors, so it would change nothing; fetch it again")
        for name, path in self._checkpoint.names.items():
            match = _NAME.fullmatch(name)
            if match is None:
                raise WeightsError(
                    self.expert,
                    f"{path}: '{name}' is not part of a plain LoRA; merge it with PEFT's merge_and_unload, save the "
                    "model and name that folder",
                )
            self._pairs.setdefault(f"{match[1]}.weight", {})[match[2]] = name
        for name, pair in self._pairs.items():
            if len(pair) != 2:
                raise WeightsError(self.expert, f"the adapter has only one of A and B for {name}; fetch it again")
