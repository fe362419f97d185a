"""A store without sharing has the same bytes under names that no two experts have in common."""

from __future__ import annotations

from pathlib import Path

from compositions import write_config

from coe.assembly.import_experts import imported_experts
from coe.bench.switch.sharing import UnsharedStore
from coe.bench.switch.variants import make_variants
from coe.config.read import load_config


def test_every_expert_has_units_of_its_own_with_the_same_bytes(tmp_path: Path, llama_folder: Path) -> None:
    store, (base,), _ = imported_experts(load_config(write_config(tmp_path, {"base": llama_folder})))
    experts = make_variants(store, base, 2, num_shared=2).experts
    unshared = UnsharedStore(store, experts)
    hashes = [{unit.hash for unit in expert.manifest.units} for expert in unshared.imported]
    assert not hashes[0] & hashes[1]
    for before, after in zip(experts, unshared.imported, strict=True):
        for unit, own in zip(before.manifest.units, after.manifest.units, strict=True):
            target = bytearray(unit.size_bytes)
            for read in unshared.reads(own, memoryview(target)):
                read()
            unshared.check(own, memoryview(target))
            assert target == store.path(unit).read_bytes()[: unit.size_bytes]
