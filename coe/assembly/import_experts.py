"""Experts into the store: every expert of the catalogue imported in the form that this processor runs best.

One expert that cannot be had does not stop the others: its error is returned beside what was imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from coe.assembly.forms import stored_form
from coe.assembly.processor import Processor, choose_device, processor_of
from coe.config.catalog import Catalog, ExpertSpec, load_catalog
from coe.config.schema import CacheConfig, Config
from coe.errors import ConfigError, ExpertError
from coe.sources.refusals import Refusals
from coe.weights.store.importer import import_expert
from coe.weights.store.originals import OriginalFiles
from coe.weights.store.unit_store import UnitStore
from coe.weights.unit import Manifest

__all__ = ["ImportResult", "Imported", "Progress", "StoredExperts", "import_experts", "imported_experts", "open_store"]

Progress = Callable[[str, int, int], None]  # "importing 3 of 12: code" or "pin host memory", bytes done, bytes in all


@dataclass(frozen=True, slots=True)
class Imported:
    """An expert whose units are in the store."""

    spec: ExpertSpec
    manifest: Manifest


class ImportResult(NamedTuple):
    """What was imported, in the catalogue's order, and the errors of the other experts by name."""

    experts: tuple[Imported, ...]
    errors: Mapping[str, ExpertError]


class StoredExperts(NamedTuple):
    """A store and what is in it, for work on the store itself."""

    store: UnitStore
    experts: tuple[Imported, ...]
    errors: Mapping[str, ExpertError]


def import_experts(
    catalog: Catalog, store: UnitStore | OriginalFiles, processor: Processor, progress: Progress | None = None
) -> ImportResult:
    """Write what the store lacks."""
    imported: list[Imported] = []
    refusals = Refusals(catalog.errors)
    for number, spec in enumerate(catalog, 1 + len(catalog.errors)):
        shown = None
        if progress is not None:
            shown = partial(progress, f"importing {number} of {len(catalog) + len(catalog.errors)}: {spec.name}")
            shown(0, 0)
        with refusals.guard(spec.name, "imported"):
            imported.append(Imported(spec, _import(spec, store, processor, shown)))
    return ImportResult(tuple(imported), refusals.errors)


def imported_experts(config: Config) -> StoredExperts:
    """Return the store with every expert of a configuration in it; raises ConfigError where there is no store."""
    if config.cache.store == "in-place":
        raise ConfigError('[cache] store = "in-place": there is no store of units to work on; write store = "units"')
    store = UnitStore(config.cache.dir, heals=False)  # `verify` is to find what is wrong, not to mend it unseen
    processor = processor_of(choose_device(config.engine.device))
    return StoredExperts(store, *import_experts(load_catalog(config.experts, config.engine.dtype), store, processor))


def open_store(cache: CacheConfig) -> UnitStore:
    return UnitStore(cache.dir, rehash=cache.rehash_loads)


def _import(
    spec: ExpertSpec,
    store: UnitStore | OriginalFiles,
    processor: Processor,
    progress: Callable[[int, int], None] | None,
) -> Manifest:
    form = stored_form(spec, processor)
    if isinstance(store, OriginalFiles):
        return store.add(spec, form)
    return import_expert(store, spec, form, progress=progress)
