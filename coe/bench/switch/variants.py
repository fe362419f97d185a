"""Experts for benchmarks: many of one size, each with bytes of its own, made from one that is imported.

Flips the lowest bit of one number per unit, which changes no answer and every hash. Written once to the store, under
manifests of their own: `coe experts gc` removes them. Knows nothing about what is measured with them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from coe.assembly.import_experts import Imported
from coe.weights.store.unit_store import UnitStore
from coe.weights.unit import DTYPE_SIZES, Manifest, Unit

__all__ = ["Variants", "make_variants"]


class Variants(NamedTuple):
    experts: list[Imported]
    import_s: float  # 0 when all were there already


def make_variants(store: UnitStore, base: Imported, count: int, *, num_shared: int = 0, name: str = "v") -> Variants:
    """Return `count` experts of the base's size; their first `num_shared` units are the base's own."""
    started_s, is_new, experts = time.perf_counter(), False, []
    for number in range(1, count + 1):
        key = f"{base.manifest.key}-{name}{num_shared}-{number}"
        manifest = store.lookup(key)
        if manifest is None:
            is_new, manifest = True, _write(store, base.manifest, key, number, num_shared)
        spec = replace(base.spec, name=f"{name}{number:02}", aliases=(), pin=False, preload=False, keep_alive_s=None)
        experts.append(Imported(spec, manifest))
    return Variants(experts, time.perf_counter() - started_s if is_new else 0.0)


def _write(store: UnitStore, base: Manifest, key: str, number: int, num_shared: int) -> Manifest:
    units: Sequence[Unit] = [
        unit if index < num_shared else replace(unit, hash=store.put(_perturbed(store, unit, number)))
        for index, unit in enumerate(base.units)
    ]
    manifest = replace(base, key=key, units=tuple(units))
    store.save(manifest)
    return manifest


def _perturbed(store: UnitStore, unit: Unit, number: int) -> memoryview:
    data = bytearray(store.path(unit).read_bytes())
    spec = max(unit.tensors, key=lambda spec: spec.size_bytes)
    data[spec.offset + number * DTYPE_SIZES[spec.dtype]] ^= 1  # little endian: the lowest bit of a mantissa
    return memoryview(data)
