"""Experts into the store: every expert of the catalogue imported in the form that this processor runs best.

One expert that cannot be had does not stop the others: its error is returned beside what was imported.
"""

from __future__ import annotations

import logging
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
from coe.weights.store.importer import import_expert, key_of
from coe.weights.store.originals import OriginalFiles
from coe.weights.store.unit_store import UnitStore
from coe.weights.unit import Manifest

__all__ = [
    "ImportResult",
    "Imported",
    "Progress",
    "StoredExperts",
    "import_experts",
    "imported_experts",
    "open_store",
    "stored_keys",
]

log = logging.getLogger("coe.assembly.import")

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


class StoredKeys(NamedTuple):
    """A store, and under which key each expert by name is in it or would be."""

    store: UnitStore
    keys: Mapping[str, str]


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
    lacking = refusals.errors.keys() - catalog.errors.keys()
    if isinstance(store, UnitStore) and store.is_read_only and lacking:
        log.error("store %s can only be read and lacks: %s", store.folder, ", ".join(sorted(lacking)))
    return ImportResult(tuple(imported), refusals.errors)


def imported_experts(config: Config) -> StoredExperts:
    """Return the store with every expert of a configuration in it; raises ConfigError where there is no store."""
    store = _store_of(config)
    processor = processor_of(choose_device(config.engine.device))
    return StoredExperts(store, *import_experts(load_catalog(config.experts, config.engine.dtype), store, processor))


def open_store(cache: CacheConfig) -> UnitStore:
    """Return the store; raises ConfigError if its folder cannot be made where it is used."""
    return UnitStore(cache.dir, rehash=cache.rehash_loads, makes=cache.store == "units")


def stored_keys(config: Config) -> StoredKeys:
    """Return the store and the key of each expert's manifest, imported or not; raises as `imported_experts` does.

    Nothing is fetched: a newer revision on the hub is not what the store has. An expert that cannot be had is named in
    the log.
    """
    store, processor, keys = _store_of(config), processor_of(choose_device(config.engine.device)), {}
    catalog = load_catalog(config.experts, config.engine.dtype, only_cached=True)
    refusals = Refusals(catalog.errors)
    for spec in catalog:
        with refusals.guard(spec.name, "found in the store"):
            keys[spec.name] = key_of(spec, stored_form(spec, processor))
    for error in refusals.errors.values():
        log.error("store: %s", error)
    return StoredKeys(store, keys)


def _store_of(config: Config) -> UnitStore:
    if config.cache.store == "in-place":
        raise ConfigError('[cache] store = "in-place": there is no store of units to work on; write store = "units"')
    return UnitStore(config.cache.dir, heals=False)  # `verify` is to find what is wrong, not to mend it unseen


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
