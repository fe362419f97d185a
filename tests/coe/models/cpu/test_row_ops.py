"""The fused loops against torch's own operators, and every row against itself alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from coe.models.cpu import row_kernels
from coe.models.cpu.row_ops import RowOps, Rows
from coe.models.matmul import Int8
from coe.weights.store.quantise import quantise_rows

EPS = 1e-5
ROWS = pytest.mark.parametrize("num_rows", [1, 2, 7])


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def dense(rows: Rows) -> torch.Tensor:
    return rows.values.float() * rows.scales[:, None]


@ROWS
def test_norm_is_torchs(num_rows: int) -> None:
    x, weight = random(num_rows, 3, 64), random(64, seed=1)
    torch.testing.assert_close(RowOps().normed(x, weight, EPS), F.rms_norm(x, (64,), weight, EPS))
    alone = torch.cat([RowOps().normed(row[None], weight, EPS) for row in x])
    assert torch.equal(RowOps().normed(x, weight, EPS), alone)


def test_norm_reads_views_that_are_not_contiguous() -> None:
    x, weight = random(64, 5).t(), random(64, seed=1)
    torch.testing.assert_close(RowOps().normed(x, weight, EPS), F.rms_norm(x, (64,), weight, EPS))


def test_silu_is_torchs_from_the_smallest_to_the_largest_number() -> None:
    gate = torch.cat((50 * random(4, 96).flatten(), torch.tensor([0.0, -0.0, 1e-30, -200.0, 200.0, -87.5])))
    found = torch.tensor([float(row_kernels.silu(np.float32(x))) for x in gate.tolist()])
    torch.testing.assert_close(found, F.silu(gate), rtol=2e-6, atol=1e-30)


@ROWS
def test_quantised_is_within_half_a_step_and_the_largest_is_127(num_rows: int) -> None:
    x = random(num_rows, 80)
    rows = RowOps().quantised(x)
    assert rows.values.abs().amax(1).tolist() == [127] * num_rows
    assert ((dense(rows) - x).abs() <= rows.scales[:, None] * 0.501).all()


def test_halves_round_to_even_as_torch_rounds() -> None:
    x = torch.tensor([[127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 3.49]])
    assert RowOps().quantised(x).values[0].tolist() == [127, 0, 2, 2, 0, -2, -2, 3]


@ROWS
def test_norm_before_a_matmul_and_sum_after_it_are_the_separate_ones(num_rows: int) -> None:
    fused, x, norm = RowOps(), random(num_rows, 64), random(64, seed=1)
    weight = Int8(*quantise_rows(random(64, 64, seed=2)))
    rows = fused.quantised_norm(x, norm, EPS)
    torch.testing.assert_close(dense(rows), dense(fused.quantised(fused.normed(x, norm, EPS))), atol=1e-5, rtol=0)
    hidden, after = fused.add_matmul_and_norm(x, rows, weight, norm, EPS)
    torch.testing.assert_close(hidden, x + fused.matmul(rows, weight))
    torch.testing.assert_close(dense(after), dense(fused.quantised_norm(hidden, norm, EPS)), atol=1e-5, rtol=0)


def test_bias_is_added() -> None:
    fused, bias = RowOps(), random(32)
    weight, rows = Int8(*quantise_rows(random(32, 64))), fused.quantised(random(3, 64, seed=1))
    torch.testing.assert_close(fused.matmul(rows, weight, bias), fused.matmul(rows, weight) + bias)


@pytest.mark.parametrize("has_norms", [True, False])
@pytest.mark.parametrize("has_table", [True, False])
def test_rotary_embedding_turns_q_and_k_and_leaves_v(has_norms: bool, has_table: bool) -> None:
    fused, dim = RowOps(), 16
    qkv, norms = random(5, 4 + 2 + 2, dim), (random(dim, seed=1), random(dim, seed=2))
    angles = torch.outer(torch.arange(5.0), 1 / 100 ** (torch.arange(8) / 8)).repeat(1, 2)[:, None]
    cos, sin = angles.cos(), angles.sin()
    expected = qkv.clone()
    for start, end, norm in ((0, 4, norms[0]), (4, 6, norms[1])):
        part = F.rms_norm(qkv[:, start:end], (dim,), norm, EPS) if has_norms else qkv[:, start:end]
        turned = part * cos + torch.cat((-part[..., 8:], part[..., :8]), dim=-1) * sin
        expected[:, start:end] = turned if has_table else part
    fused.rotate_(qkv, 4, 2, norms if has_norms else None, EPS, (cos, sin) if has_table else None)
    torch.testing.assert_close(qkv, expected)
