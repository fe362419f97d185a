"""Every expert of a configuration checked as a start would check it, without importing, fetching or serving anything.

Covered: folders, descriptions, headers of weights, adapters against their bases, tokenizers, templates, backends,
budgets. Not covered: the values of weights, and what is on the hub and not in its cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from coe.assembly.backends import Backends
from coe.assembly.forms import stored_form
from coe.assembly.import_experts import Imported
from coe.assembly.processor import choose_device, processor_of
from coe.assembly.served import prepare, serve
from coe.config.budgets import derive_budgets
from coe.config.catalog import load_catalog
from coe.config.hub import NotFetchedError
from coe.config.schema import Config
from coe.errors import ExpertError
from coe.sources.refusals import Refusals
from coe.weights.store.importer import describe_expert
from coe.weights.store.originals import OriginalFiles

__all__ = ["CheckedExperts", "check_experts"]


class CheckedExperts(NamedTuple):
    """The names of experts that can be served, the errors of those that cannot, and those not fetched from the hub."""

    served: tuple[str, ...]
    refused: Mapping[str, ExpertError]
    unfetched: tuple[str, ...]


def check_experts(config: Config) -> CheckedExperts:
    """Check every expert on this machine; raises ConfigError for a device that is not there."""
    device = choose_device(config.engine.device)
    processor, budgets = processor_of(device), derive_budgets(config.cache, config.engine, device)
    catalog = load_catalog(config.experts, config.engine.dtype, only_cached=True)
    described: list[Imported] = []
    refusals = Refusals(catalog.errors)
    describe = OriginalFiles().add if config.cache.store == "in-place" else describe_expert
    for spec in catalog:
        with refusals.guard(spec.name, "imported"):
            described.append(Imported(spec, describe(spec, stored_form(spec, processor))))
    prepared = prepare(described, processor, budgets)
    served, pooled, unbound = serve(prepared, Backends(processor), config.engine.max_tokens)
    found = {**refusals.errors, **prepared.errors, **unbound}
    unfetched = tuple(name for name, error in found.items() if isinstance(error, NotFetchedError))
    refused = {name: error for name, error in found.items() if name not in unfetched}
    return CheckedExperts((*served, *pooled), refused, unfetched)
