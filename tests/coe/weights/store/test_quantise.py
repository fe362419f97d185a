"""Matrices in int8: each row to its own scale, rounded to nearest."""

from __future__ import annotations

import torch

from coe.weights.store.quantise import quantise_rows


def test_every_value_is_within_half_a_scale_of_its_original_and_the_largest_is_exact() -> None:
    weight = torch.randn(40, 64, generator=torch.Generator().manual_seed(0), dtype=torch.bfloat16)
    values, scales = quantise_rows(weight)
    assert (values.dtype, scales.dtype) == (torch.int8, torch.float32)
    error = (values * scales[:, None] - weight.float()).abs()
    assert bool((error <= 0.5001 * scales[:, None]).all())
    assert values.abs().amax(dim=1).tolist() == [127] * 40


def test_a_row_of_zeros_stays_zeros() -> None:
    values, scales = quantise_rows(torch.zeros(2, 8))
    assert not values.any()
    assert bool(scales.isfinite().all())
