"""Experts made from one that is imported."""

from __future__ import annotations

from pathlib import Path

from compositions import write_config

from coe.assembly.import_experts import imported_experts
from coe.bench.switch.variants import make_variants
from coe.config.read import load_config


def test_variants_share_what_they_are_told_and_nothing_else_and_are_made_once(
    tmp_path: Path, llama_folder: Path
) -> None:
    store, (base,), _ = imported_experts(load_config(write_config(tmp_path, {"base": llama_folder})))
    made = make_variants(store, base, 3, num_shared=2)
    hashes = [[unit.hash for unit in expert.manifest.units] for expert in (base, *made.experts)]
    assert len({tuple(own[:2]) for own in hashes}) == 1
    assert len({digest for own in hashes for digest in own[2:]}) == 4 * (len(hashes[0]) - 2)
    assert made.import_s > 0
    again = make_variants(store, base, 3, num_shared=2)
    assert again.import_s == 0
    assert [each.manifest for each in again.experts] == [each.manifest for each in made.experts]
