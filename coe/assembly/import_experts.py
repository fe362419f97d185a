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
from coe.weights.store.importer import import_expert
from coe.weights.store.originals import OriginalFiles
from coe.weights.store.unit_store import UnitStore
from coe.weights.unit import Manifest

__all__ = ["ImportResult", "Imported", "Progress", "StoredExperts", "import_experts", "imported_experts", "open_store"]

log = logging.getLogger("coe.assembly.import")

Progress = Callable[[str, int, int], None]  # "import <expert>" or "pin host memory", bytes done, bytes in all


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
    errors: dict[str, ExpertError] = dict(catalog.errors)
    for spec in catalog:
        try:
            imported.append(Imported(spec, _import(spec, store, processor, progress)))
        except ExpertError as error:
            log.error("import expert=%s error=%s", spec.name, error)
            errors[spec.name] = error
    return ImportResult(tuple(imported), errors)


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
    spec: ExpertSpec, store: UnitStore | OriginalFiles, processor: Processor, progress: Progress | None
) -> Manifest:
    form = stored_form(spec, processor)
    if isinstance(store, OriginalFiles):
        return store.add(spec, form)
    shown = None if progress is None else partial(progress, f"import {spec.name}")
    return import_expert(store, spec, form, progress=shown)
