"""`coe experts verify` and `gc`: work on the store of imported weights, while servers use it or not."""

from __future__ import annotations

import argparse

from coe.assembly.import_experts import imported_experts, stored_keys
from coe.config.read import load_config
from coe.progress import in_gib

__all__ = ["run_gc", "run_verify"]


def run_verify(arguments: argparse.Namespace) -> int:
    """Re-hash every stored unit of every expert and remove the bad ones; 1 if there was any."""
    store, imported, errors = imported_experts(load_config(arguments.config))
    bad = {expert.spec.name: store.verify(expert.manifest) for expert in imported}
    for name, units in bad.items():
        print(f"{name}: {'ok' if not units else 'BAD ' + ', '.join(unit.name for unit in units)}")
        if not store.is_read_only:
            store.drop(units)
    for error in errors.values():
        print(error)
    if any(bad.values()):
        print(
            f"store {store.folder} can only be read: the bad units stay; import these experts anew into another store"
            if store.is_read_only
            else "bad units were removed: the next start imports them anew from the experts' sources"
        )
    return 1 if any(bad.values()) or errors else 0


def run_gc(arguments: argparse.Namespace) -> int:
    """Remove the units that no configured expert and no process that uses the store needs."""
    store, keys = stored_keys(load_config(arguments.config))
    freed = store.gc(keys.values())
    print(f"freed {in_gib(freed)}, {in_gib(store.disk_bytes())} in use in {store.folder}")
    return 0
