"""Random experts are what their shapes say, and transformers reads them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from coe.bench.synthetic import bytes_of, make_synthetic, write_checkpoint
from coe.weights.store.unit_store import UnitStore


def test_synthetic_weights_are_what_the_shape_says_and_transformers_reads_them(tmp_path: Path) -> None:
    store = UnitStore(tmp_path / "store")
    first, second = (expert.manifest for expert in make_synthetic(store, "tiny", 2))
    assert first.size_bytes == bytes_of("tiny")
    assert not {unit.hash for unit in first.units} & {unit.hash for unit in second.units}
    folder = write_checkpoint(store, first, tmp_path / "checkpoint")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    assert model.num_parameters() == first.num_parameters
    for name, values in model.state_dict().items():
        if values.dim() == 1:
            assert values.unique().tolist() == [1.0], name
        else:
            assert float(values.abs().min()) >= 2**-11, name
            assert float(values.abs().max()) < 2**-7, name
            assert abs(float(values.float().mean())) < 1e-3, name


def test_the_synthetic_shapes_have_the_sizes_of_the_models_they_are_named_after() -> None:
    assert bytes_of("8b") == pytest.approx(16.06e9, rel=0.001)
    assert bytes_of("1b") == pytest.approx(2.2e9, rel=0.001)
