"""The experts of `coe bench switch`: made from the configuration's first, or synthetic ones of a known size.

Knows where they come from and how many there are; knows nothing about what is measured.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from coe.assembly.import_experts import Imported, imported_experts, open_store
from coe.bench.switch.testbed import Testbed
from coe.bench.switch.variants import make_variants
from coe.bench.synthetic import bytes_of, check_disk, is_made, make_synthetic, synthetic_config, write_checkpoint
from coe.config.schema import Config
from coe.progress import import_bars

__all__ = ["BenchedExperts", "configured_experts", "synthetic_experts"]

NUM_SHARING = 3
DEFAULT_EXPERTS = {"configured": 30, "synthetic": 2}


@dataclass(frozen=True, slots=True)
class BenchedExperts:
    """`distinct` share nothing, `sharing` share their leading units, `configured` are the configuration's own."""

    base: Imported
    distinct: Testbed
    sharing: Testbed
    configured: Testbed | None
    checkpoint: Path | None  # of the base, as others read it
    import_s: float


def configured_experts(config: Config, num_experts: int | None) -> BenchedExperts:
    """Variants of the configuration's first expert, one bit per unit apart."""
    store, imported, errors = imported_experts(config)
    for error in errors.values():
        print(f"left out: {error}")
    base = imported[0]
    distinct = make_variants(store, base, num_experts or DEFAULT_EXPERTS["configured"])
    sharing = make_variants(store, base, NUM_SHARING, num_shared=len(base.manifest.units) // 2, name="s")
    configured = Testbed(config, store, imported)
    return BenchedExperts(
        base,
        Testbed(config, store, distinct.experts),
        Testbed(config, store, sharing.experts),
        configured if configured.shared_share > 0 else None,
        base.spec.folder,
        distinct.import_s,
    )


def synthetic_experts(shape: str, folder: Path, num_experts: int | None, *, with_checkpoint: bool) -> BenchedExperts:
    """Random experts of a shape in a store of their own; raises ConfigError where the disk has no room for them."""
    config = synthetic_config(folder)
    store, count, size = open_store(config.cache), num_experts or DEFAULT_EXPERTS["synthetic"], bytes_of(shape)
    checkpoint = folder / "synthetic" / f"{shape}-checkpoint"
    num_missing = sum(not is_made(store, shape, number) for number in range(1, count + 1))
    num_missing += with_checkpoint and not checkpoint.is_dir()
    check_disk(
        folder,
        num_missing * size,
        "lower --experts, leave out --sections rivals or sharing, or name another --dir",
    )
    started_s = time.perf_counter()
    with import_bars() as progress:
        experts = make_synthetic(store, shape, count, progress)
    import_s = time.perf_counter() - started_s if num_missing else 0.0
    base = experts[0]
    num_units = len(base.manifest.units)
    sharing = make_variants(store, base, NUM_SHARING, num_shared=num_units - max(1, num_units // 8), name="s")
    if with_checkpoint:
        write_checkpoint(store, base.manifest, checkpoint)
    distinct, shared = Testbed(config, store, experts), Testbed(config, store, sharing.experts)
    return BenchedExperts(base, distinct, shared, None, checkpoint if with_checkpoint else None, import_s)
