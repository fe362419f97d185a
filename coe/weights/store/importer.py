"""Imports an expert once: casts its tensors, merges its adapter and packs units into the store.

Owns the order of the work and the checks on the way; it never has more than one unit in memory. A second import of an
unchanged source is a look-up. Knows nothing about memory tiers: it leaves files and a manifest behind.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch

from coe.config.catalog import ExpertSpec
from coe.errors import WeightsError
from coe.sources.json_files import json_object
from coe.weights.store.checkpoint import Checkpoint, weight_files
from coe.weights.store.layout import Parameter, lay_out_model, lay_out_unit, padded_bytes
from coe.weights.store.lora import BASE_RECORD, LoraAdapter
from coe.weights.store.quantise import quantise_rows
from coe.weights.store.unit_store import UnitStore
from coe.weights.unit import SCALE, Manifest, TensorSpec, Unit

__all__ = [
    "DTYPES",
    "Import",
    "Progress",
    "StoredForm",
    "describe_expert",
    "identity_of",
    "import_expert",
    "key_of",
    "opened",
    "record_base",
]

Progress = Callable[[int, int], None]  # bytes done, bytes in all

HASHED_VALUES = 1024  # of each matrix of a base: enough to tell models apart, and no pass over all of them
FORMAT = 1  # part of every manifest's key: increase it when the layout changes

_NAMES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}  # ours -> safetensors'
_MATRICES = {"bfloat16": "BF16", "int8": "I8"}  # `StoredForm.matrices` -> safetensors'
DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16, "I8": torch.int8}


@dataclass(frozen=True, slots=True)
class StoredForm:
    """How an import stores weights. `dtype` is what is computed in: float32, bfloat16 or float16.

    `matrices`: "same" as `dtype`; "bfloat16" or "int8" whatever they were; "kept-bfloat16" where they are in bfloat16
    already and no adapter changes them, else `dtype`, which loses nothing.
    """

    dtype: str
    matrices: Literal["same", "kept-bfloat16", "bfloat16", "int8"] = "same"


FLOAT32 = StoredForm("float32")


def import_expert(
    store: UnitStore,
    spec: ExpertSpec,
    form: StoredForm = FLOAT32,
    *,
    progress: Progress | None = None,
) -> Manifest:
    """Return the expert's manifest; units that the store lacks are written.

    Raises SourceError if the source cannot become units, and WeightsError if bytes are missing, do not fit or cannot be
    written; both name the expert, and what a failed import has written is removed.
    """
    with _errors_of(spec, store):
        key = key_of(spec, form)
        if (manifest := store.lookup(key)) is not None:
            return manifest
        if store.is_read_only:
            raise WeightsError(
                spec.name,
                f"must be imported, and store {store.folder} can only be read; start once with a store that can be "
                "written to",
            )
        with store.all_or_nothing(), opened(spec, form) as work:
            manifest = work.run(store, key, progress)
            store.save(manifest)
        return manifest


@contextmanager
def opened(spec: ExpertSpec, form: StoredForm) -> Iterator[Import]:
    """Open the expert's checkpoint and adapter for an import; raises what is wrong with them."""
    with ExitStack() as stack:
        checkpoint = stack.enter_context(Checkpoint(spec.name, weight_files(spec.name, spec.folder)))
        adapter = stack.enter_context(LoraAdapter(spec.name, spec.adapter)) if spec.adapter else None
        yield Import(spec, checkpoint, adapter, form)


def describe_expert(spec: ExpertSpec, form: StoredForm = FLOAT32) -> Manifest:
    """Return the manifest that an import would make, its hashes left out; raises as it would, and writes nothing."""
    with opened(spec, form) as work:
        units = [Unit(name, name, padded_bytes(specs), specs) for name, specs in work.tensor_specs().items()]
        return work.manifest("described", units)


def record_base(spec: ExpertSpec) -> None:
    """Leave in the adapter's folder which weights it was trained on, so that no other base is taken for its own."""
    assert spec.adapter is not None
    with opened(spec, FLOAT32) as work:
        assert work.adapter is not None
        record = {"name": work.adapter.made_for, "weights": work.base_hash()}
    (spec.adapter / BASE_RECORD).write_text(json.dumps(record))


@contextmanager
def _errors_of(spec: ExpertSpec, store: UnitStore) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WeightsError(
            spec.name,
            f"cannot be imported into {store.folder} ({error}); free space there, or name another [cache] dir",
        ) from error


def key_of(spec: ExpertSpec, form: StoredForm) -> str:
    """Return the manifest's key, of all that an import reads: paths, sizes, times and inodes, never bytes."""
    folders = [spec.folder, *([spec.adapter] if spec.adapter else [])]
    described = [folder / name for folder in folders for name in ("config.json", "generation_config.json")]
    adapter = (
        [spec.adapter / name for name in ("adapter_config.json", "adapter_model.safetensors", BASE_RECORD)]
        if spec.adapter
        else []
    )
    files = [
        identity_of(path) for path in [*described, *weight_files(spec.name, spec.folder), *adapter] if path.is_file()
    ]
    facts = [FORMAT, form.dtype, form.matrices, spec.source, str(spec.tokenizer_dir), files]
    facts += [] if spec.checks_base else ["base not checked"]
    facts += [] if spec.kind == "chat" else [spec.kind]
    return hashlib.blake2b(json.dumps(facts).encode(), digest_size=16).hexdigest()


def identity_of(path: Path) -> tuple[str, int, int, int]:
    """Return path, size, modification time and inode: one of them changes when the file does."""
    status = path.stat()
    return str(path.absolute()), status.st_size, status.st_mtime_ns, status.st_ino


class Import:
    """One import: which tensors go into which unit, and where each of them comes from."""

    def __init__(
        self,
        spec: ExpertSpec,
        checkpoint: Checkpoint,
        adapter: LoraAdapter | None,
        form: StoredForm,
    ) -> None:
        self.spec = spec
        self.checkpoint = checkpoint
        self.adapter = adapter
        self.form = form
        self.config = json_object(spec.name, spec.folder / "config.json")
        self.layout = lay_out_model(spec.name, self.config, spec.kind)

    def run(self, store: UnitStore, key: str, progress: Progress | None) -> Manifest:
        layouts = self.tensor_specs()
        total = sum(padded_bytes(specs) for specs in layouts.values())
        units: list[Unit] = []
        for name, specs in layouts.items():
            data = self.pack(specs)
            units.append(Unit(name, store.put(data.numpy().data), data.numel(), specs))
            if progress is not None:
                progress(sum(unit.size_bytes for unit in units), total)
        return self.manifest(key, units)

    def tensor_specs(self) -> dict[str, tuple[TensorSpec, ...]]:
        """Return every unit's tensors, units in execution order; raises WeightsError if an adapter does not fit."""
        sources = self.sources
        self.check_adapter()
        name = _NAMES[self.form.dtype]

        def matrix_dtype(group: Collection[str]) -> str:
            if self.form.matrices in _MATRICES:
                return _MATRICES[self.form.matrices]
            is_merged = self.adapter is not None and not self.adapter.targets.isdisjoint(group)
            is_kept = all(self.checkpoint.dtype(sources[each]) == "BF16" for each in group) and not is_merged
            return "BF16" if self.form.matrices == "kept-bfloat16" and is_kept else name

        return {unit.name: lay_out_unit(unit.parameters, name, matrix_dtype) for unit in self.layout.units}

    def manifest(self, key: str, units: Sequence[Unit]) -> Manifest:
        generation = self.spec.folder / "generation_config.json"
        return Manifest(
            key,
            self.spec.source,
            self.dtype_of(units),
            self.config,
            json_object(self.spec.name, generation) if generation.is_file() else {},
            str(self.spec.tokenizer_dir),
            tuple(units),
            dict(self.layout.tied),
        )

    def dtype_of(self, units: Sequence[Unit]) -> str:
        """Return the dtype of the matrices; where an adapter has widened some of them, the one that is computed in."""
        if self.form.matrices in _MATRICES:
            return self.form.matrices
        kinds = {spec.dtype for unit in units for spec in unit.tensors if len(spec.shape) > 1}
        return "bfloat16" if kinds == {"BF16"} else self.form.dtype

    def pack(self, specs: tuple[TensorSpec, ...]) -> torch.Tensor:
        """Return one unit's flat bytes: its tensors, cast, merged or quantised, at their offsets, zeros between."""
        data = torch.zeros(padded_bytes(specs), dtype=torch.uint8)
        places = {
            spec.name: data[spec.offset : spec.offset + spec.size_bytes].view(DTYPES[spec.dtype]).view(spec.shape)
            for spec in specs
        }
        for name in places.keys() & self.sources.keys():
            tensor = self.checkpoint.read(self.sources[name])
            if self.adapter and name in self.adapter.targets:
                tensor = self.adapter.merge(name, tensor)
            if places[name].dtype is torch.int8:
                tensor, scales = quantise_rows(tensor)
                places[name + SCALE].copy_(scales)
            places[name].copy_(tensor)
        return data

    @cached_property
    def sources(self) -> dict[str, str]:
        """The checkpoint's name of every parameter; raises WeightsError if one is missing or left over."""
        found = {name: self.find(parameter) for name, parameter in self.layout.parameters.items()}
        left = self.checkpoint.names.keys() - set(found.values())
        self.check_tied(left, found)
        tied = {candidate for name in self.layout.tied for candidate in self.spellings(name)}
        unknown = sorted(
            name for name in left - tied if not any(re.search(pattern, name) for pattern in self.layout.ignored)
        )
        if unknown:
            raise self.error(
                f"{self.checkpoint.names[unknown[0]]}: tensor '{unknown[0]}' ({len(unknown)} in all) is not part of "
                f"the model that config.json describes; fetch both again"
            )
        return found

    def find(self, parameter: Parameter) -> str:
        aliases = [name for name, owner in self.layout.tied.items() if owner == parameter.name]
        candidates = [spelling for name in (parameter.name, *aliases) for spelling in self.spellings(name)]
        name = next((candidate for candidate in candidates if candidate in self.checkpoint.names), None)
        if name is None:
            raise self.error(
                f"tensor '{parameter.name}' is missing in {self.spec.folder}; fetch it again (a checkpoint whose "
                "tensors transformers splits or joins while loading, such as most mixtures of experts, is not read)"
            )
        if self.checkpoint.shape(name) != parameter.shape:
            raise self.error(
                f"{self.checkpoint.names[name]}: tensor '{name}' is {self.checkpoint.shape(name)} and config.json "
                f"asks for {parameter.shape}; fetch both again"
            )
        self.checkpoint.check_float(name)
        return name

    def spellings(self, name: str) -> list[str]:
        """Return the names that a checkpoint may have for a parameter: some leave out the model's prefix.

        The states that vectors are made of may be those of a larger model, which has its prefix in front of them.
        """
        prefix = f"{self.layout.prefix}."
        if self.spec.kind == "embedding":
            return [name, prefix + name]
        return [name, name.removeprefix(prefix)] if name.startswith(prefix) else [name]

    def check_tied(self, left: set[str], found: dict[str, str]) -> None:
        for name, owner in self.layout.tied.items():
            for spelling in left & set(self.spellings(name)):
                if not torch.equal(self.checkpoint.read(spelling), self.checkpoint.read(found[owner])):
                    raise self.error(
                        f"config.json ties {name} to {owner} and their tensors differ; set tie_word_embeddings to "
                        "false there"
                    )

    def check_adapter(self) -> None:
        if self.adapter is None:
            return
        for name in sorted(self.adapter.targets):
            if name in self.layout.tied or name in self.layout.tied.values():
                raise self.error(
                    f"the adapter changes {name}, which is tied; merge it with PEFT's merge_and_unload, save the "
                    "model and name that folder"
                )
            if name not in self.layout.parameters:
                raise self.error(
                    f"the adapter changes {name}, which the base {self.spec.folder} has not; it was made for "
                    f"'{self.adapter.made_for}': name its base with base = ..."
                )
            self.adapter.check_shapes(name, self.layout.parameters[name].shape)
        recorded = self.adapter.recorded_base if self.spec.checks_base else None
        if recorded is not None and recorded != self.base_hash():
            raise self.error(
                f"the adapter was trained on other weights, of '{self.adapter.made_for}', than those in "
                f'{self.spec.folder}; name its base with base = ..., or write base_check = "off"'
            )

    def base_hash(self) -> str:
        """Return a hash of the weights that the adapter changes: of the first values of each, as bfloat16."""
        assert self.adapter is not None
        digest = hashlib.blake2b(digest_size=16)
        for name in sorted(self.adapter.targets):
            values = self.checkpoint.read(self.sources[name]).flatten()[:HASHED_VALUES].bfloat16()
            digest.update(name.encode() + values.view(torch.int16).numpy().tobytes())
        return digest.hexdigest()

    def error(self, message: str) -> WeightsError:
        return WeightsError(self.spec.name, message)
