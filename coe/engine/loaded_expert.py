"""An expert as the engine runs it."""

from __future__ import annotations

from dataclasses import dataclass

from coe.models.model import Model
from coe.weights.unit import Manifest

__all__ = ["LoadedExpert"]


@dataclass(frozen=True, slots=True)
class LoadedExpert:
    """An expert's manifest and the model that runs it. `keep_alive_s`: idle seconds after which it is unloaded."""

    name: str
    manifest: Manifest
    model: Model
    keep_alive_s: float | None = None
