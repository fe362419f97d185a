"""Units made from the experts' own files at every load, without a store: `[cache] store = "in-place"`.

Nothing is written, for disks without room for a copy. The price: each load gathers, casts and merges tensors anew,
through the page cache, and units are shared only if they are made from the very same tensors of the very same files.
Bytes are not hashed; a file whose size, time or inode has changed since the start fails its experts by name. A read
needs at most 8 MiB a thread beside the frame, and one whole tensor where an adapter is merged. Knows nothing about
budgets or tiers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from coe.config.catalog import ExpertSpec
from coe.errors import WeightsError
from coe.weights.store.checkpoint import FileRange
from coe.weights.store.file_reads import PIECE_BYTES, read_buffered
from coe.weights.store.importer import DTYPES, Import, StoredForm, identity_of, opened
from coe.weights.store.layout import padded_bytes
from coe.weights.store.lora import LoraAdapter
from coe.weights.unit import DTYPE_SIZES, Manifest, TensorSpec, Unit

__all__ = ["OriginalFiles"]


@dataclass(frozen=True, slots=True)
class _TensorSource:
    """One tensor of a unit, and the file range that its bytes are made from."""

    spec: TensorSpec
    stored: FileRange
    dtype: str  # of the stored bytes, safetensors' name
    shape: tuple[int, ...]
    is_merged: bool  # an adapter changes it


@dataclass(frozen=True, slots=True)
class _Recipe:
    """How to make a unit. `files` are the identities, at start, of the files that it depends on."""

    tensors: tuple[_TensorSource, ...]
    files: tuple[tuple[str, int, int, int], ...]
    expert: str
    adapter: Path | None


class OriginalFiles:
    """A source of units (`transfer.UnitSource`) in the store's place."""

    def __init__(self) -> None:
        self._recipes: dict[str, _Recipe] = {}

    def add(self, spec: ExpertSpec, form: StoredForm) -> Manifest:
        """Return the manifest that `import_expert` would make; raises SourceError and WeightsError as it would."""
        if form.matrices == "int8":
            raise WeightsError(spec.name, 'weights = "int8" needs an import; write [cache] store = "units"')
        try:
            with opened(spec, form) as work:
                return self._describe(work)
        except OSError as error:
            raise WeightsError(spec.name, f"cannot be read ({error}); make its files readable") from error

    def _describe(self, work: Import) -> Manifest:
        units = []
        for name, specs in work.tensor_specs().items():
            recipe = _recipe(work, specs)
            facts = [[repr(tensor) for tensor in recipe.tensors], recipe.files]
            digest = hashlib.blake2b(json.dumps(facts).encode(), digest_size=32).hexdigest()
            self._recipes[digest] = recipe
            units.append(Unit(name, digest, padded_bytes(specs), specs))
        return work.manifest("in-place", units)

    def reads(self, unit: Unit, target: memoryview) -> Sequence[Callable[[], None]]:
        """Return one call for each tensor; see `transfer.UnitSource`."""
        recipe = self._recipes[unit.hash]
        return [
            partial(_fill, recipe, tensor, target[tensor.spec.offset : tensor.spec.offset + tensor.spec.size_bytes])
            for tensor in recipe.tensors
        ] or [lambda: None]

    def check(self, unit: Unit, target: memoryview) -> None:
        """Raise ValueError if a file has changed since the start."""
        del target
        for before in self._recipes[unit.hash].files:
            if identity_of(Path(before[0])) != before:
                raise ValueError(f"{before[0]} has changed since the start; restart to read it anew")


def _recipe(work: Import, specs: Sequence[TensorSpec]) -> _Recipe:
    checkpoint = work.checkpoint
    targets = work.adapter.targets if work.adapter else frozenset()
    tensors = []
    for spec in specs:
        name = work.sources[spec.name]
        file_range, is_merged = checkpoint.range_of(name), spec.name in targets
        if checkpoint.dtype(name) not in DTYPE_SIZES:
            raise work.error(
                f"tensor '{name}' is {checkpoint.dtype(name)}, which needs an import; write store = \"units\""
            )
        tensors.append(_TensorSource(spec, file_range, checkpoint.dtype(name), checkpoint.shape(name), is_merged))
    adapter = work.spec.adapter if any(tensor.is_merged for tensor in tensors) else None
    paths = {tensor.stored.path for tensor in tensors}
    if adapter is not None:
        paths |= {adapter / name for name in ("adapter_config.json", "adapter_model.safetensors")}
    return _Recipe(tuple(tensors), tuple(identity_of(path) for path in sorted(paths)), work.spec.name, adapter)


def _fill(recipe: _Recipe, tensor: _TensorSource, target: memoryview) -> None:
    """Make one tensor's bytes in the form that its unit has."""
    if tensor.is_merged:
        _merge(recipe, tensor, target)
    elif tensor.dtype == tensor.spec.dtype:
        read_buffered(tensor.stored.path, target, tensor.stored.offset)
    else:
        _cast(tensor, target)


def _cast(tensor: _TensorSource, target: memoryview) -> None:
    """Read and cast piece by piece, so that the stored form needs little memory of its own."""
    path, start, size = tensor.stored
    out = torch.frombuffer(target, dtype=DTYPES[tensor.spec.dtype])
    width = DTYPE_SIZES[tensor.dtype]
    for at in range(0, size, PIECE_BYTES):
        scratch = bytearray(min(PIECE_BYTES, size - at))
        read_buffered(path, memoryview(scratch), start + at)
        numbers = torch.frombuffer(scratch, dtype=DTYPES[tensor.dtype])
        out[at // width : at // width + numbers.numel()].copy_(numbers)


def _merge(recipe: _Recipe, tensor: _TensorSource, target: memoryview) -> None:
    assert recipe.adapter is not None
    scratch = bytearray(tensor.stored.size_bytes)
    read_buffered(tensor.stored.path, memoryview(scratch), tensor.stored.offset)
    weight = torch.frombuffer(scratch, dtype=DTYPES[tensor.dtype]).view(tensor.shape)
    with LoraAdapter(recipe.expert, recipe.adapter) as adapter:
        merged = adapter.merge(tensor.spec.name, weight)
    torch.frombuffer(target, dtype=DTYPES[tensor.spec.dtype]).view(tensor.spec.shape).copy_(merged)
