"""`coe experts verify` and `gc`: work on the store of imported weights, without a server."""

from __future__ import annotations

import argparse

from coe.assembly.import_experts import imported_experts
from coe.config.read import load_config
from coe.progress import in_gib

__all__ = ["run_gc", "run_verify"]


def run_verify(arguments: argparse.Namespace) -> int:
    """Re-hash every stored unit of every expert and remove the bad ones; 1 if there was any."""
    store, imported, errors = imported_experts(load_config(arguments.config))
    bad = {expert.spec.name: store.verify(expert.manifest) for expert in imported}
    for name, units in bad.items():
        print(f"{name}: {'ok' if not units else 'BAD ' + ', '.join(unit.name for unit in units)}")
        store.drop(units)
    for error in errors.values():
        print(error)
    if any(bad.values()):
        print("bad units were removed: the next start imports them anew from the experts' sources")
    return 1 if any(bad.values()) or errors else 0


def run_gc(arguments: argparse.Namespace) -> int:
    """Remove the units that no configured expert needs."""
    store, imported, _ = imported_experts(load_config(arguments.config))
    freed = store.gc([expert.manifest for expert in imported])
    print(f"freed {in_gib(freed)}, {in_gib(store.disk_bytes())} in use in {store.folder}")
    return 0
