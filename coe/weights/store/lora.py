"""A plain LoRA adapter in PEFT's format, merged into one weight at a time: W + scale * B A, in float32.

Covered: rank and rank_pattern, rsLoRA's scale, transposed (Conv1D) weights. Not covered, and refused by the catalogue:
DoRA, biases, saved modules, alpha patterns. Sources: Hu et al., LoRA (arXiv 2106.09685); rsLoRA (arXiv 2312.03732).
Knows nothing about units or the store.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from coe.errors import WeightsError
from coe.weights.store.checkpoint import Checkpoint

__all__ = ["LoraAdapter"]

_NAME = re.compile(r"base_model\.model\.(.+)\.lora_([AB])\.weight")


class LoraAdapter:
    """An open adapter."""

    def __init__(self, expert: str, folder: Path) -> None:
        self.expert = expert
        self._settings = json.loads((folder / "adapter_config.json").read_text())
        self._checkpoint = Checkpoint(expert, [folder / "adapter_model.safetensors"])
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

    def merge(self, name: str, weight: torch.Tensor) -> torch.Tensor:
        """Return the merged weight in float32; raises WeightsError if the shapes do not fit."""
        pair = self._pairs[name]
        a, b = (self._checkpoint.read(pair[factor]).float() for factor in "AB")  # (rank, in), (out, rank)
        rank = a.shape[0]
        delta = (b @ a) * (self._settings["lora_alpha"] / (rank**0.5 if self._settings.get("use_rslora") else rank))
        if self._settings.get("fan_in_fan_out"):
            delta = delta.T
        if delta.shape != weight.shape:
            raise WeightsError(
                self.expert,
                f"the adapter's {name} is {tuple(delta.shape)} and its base's is {tuple(weight.shape)}; it was "
                "trained on another base: name that base with base = ...",
            )
        return weight.float().add(delta)

    def _pair_up(self) -> None:
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
