"""The static decode step says what the ragged one says: every shape, batches with padding rows, edges of blocks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from decode_steps import LENGTHS, SHAPES, Tiny, decode_rows, greedy

from coe.models.cuda.paged_kv import PagedStore
from coe.models.cuda.static_step import Bucket, fill, num_blocks

CPU = torch.device("cpu")
NUM_STEPS = 20


@pytest.fixture(scope="module", params=SHAPES)
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return Tiny(request.param, tmp_path_factory.mktemp("static"), CPU)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 8])
def test_tokens_are_those_of_the_ragged_step_on_contiguous_kv(tiny: Tiny, batch_size: int) -> None:
    lengths = LENGTHS[:batch_size] if batch_size > 1 else LENGTHS[4:5]
    kvs, tokens = tiny.prefilled(tiny.model, lengths)
    theirs, their_tokens = tiny.prefilled(tiny.contiguous, lengths)
    assert tokens == their_tokens
    assert isinstance(tiny.model.kv, PagedStore)
    static, window = tiny.model.static_step, tiny.model.shape.window
    for _ in range(NUM_STEPS):
        rows = decode_rows(kvs, tokens)
        bucket = Bucket.of(batch_size, max(num_blocks(row, window) for row in rows))
        assert bucket is not None
        assert bucket.num_rows in {batch_size, 4, 8}
        workspace = torch.full((static.workspace_bytes(bucket),), 255, dtype=torch.uint8)  # NaN, if it were read
        with torch.inference_mode():
            found = static.run(tiny.weights, torch.tensor(fill(bucket, rows, window)), workspace)[:batch_size]
        expected = tiny.eager_logits(tiny.contiguous, decode_rows(theirs, tokens))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        for row in rows:
            row.kv.advance(1)  # type: ignore[attr-defined]
        tokens = greedy(found)
        assert tokens == greedy(expected)


def test_a_step_that_is_run_again_says_the_same(tiny: Tiny) -> None:
    """Warm-up, capture and first replay all run the first step."""
    kvs, tokens = tiny.prefilled(tiny.model, (70, 3))
    assert isinstance(tiny.model.kv, PagedStore)
    static, bucket = tiny.model.static_step, Bucket(4, 2)
    inputs = torch.tensor(fill(bucket, decode_rows(kvs, tokens), tiny.model.shape.window))
    workspace = torch.zeros(static.workspace_bytes(bucket), dtype=torch.uint8)
    with torch.inference_mode():
        first, *others = [static.run(tiny.weights, inputs, workspace)[:2] for _ in range(3)]
    assert all(torch.equal(first, other) for other in others)


def test_another_sequence_full_of_nan_changes_nothing(tmp_path: Path) -> None:
    """What a mask hides is still multiplied with 0: nothing hidden may be another sequence's, or of an earlier one."""
    tiny = Tiny("llama", tmp_path, CPU)
    assert isinstance(tiny.model.kv, PagedStore)
    poisoned = tiny.model.new_kv(0)
    poisoned.window(1000)
    for page in poisoned._pages:  # type: ignore[union-attr]
        tiny.pages._buffer[page].fill_(255)
    del poisoned
    kvs, tokens = tiny.prefilled(tiny.model, (130, 3))
    static, bucket = tiny.model.static_step, Bucket(4, 4)
    inputs = torch.tensor(fill(bucket, decode_rows(kvs, tokens), None))
    workspace = torch.zeros(static.workspace_bytes(bucket), dtype=torch.uint8)
    with torch.inference_mode():
        assert bool(static.run(tiny.weights, inputs, workspace)[:2].isfinite().all())


def test_buckets_hold_what_is_asked_and_no_more_than_twice_that() -> None:
    assert Bucket.of(33, 1) is None
    for rows in range(1, 33):
        for blocks in range(1, 40):
            found = Bucket.of(rows, blocks)
            assert found is not None
            assert rows <= found.num_rows < 2 * rows or rows == 1
            assert blocks <= found.num_blocks < 2 * blocks or blocks == 1


def test_bfloat16_strays_no_further_than_the_ragged_step(tmp_path: Path) -> None:
    """Both against float32 arithmetic on the same rounded weights; mean relative error of logits."""
    tiny = Tiny("llama", tmp_path, CPU, dtype="bfloat16", stored="bfloat16")
    wide = Tiny("llama", tmp_path / "wide", CPU, stored="bfloat16")
    kvs, tokens = tiny.prefilled(tiny.model, LENGTHS)
    eager_kvs, _ = tiny.prefilled(tiny.contiguous, LENGTHS)
    exact_kvs, _ = wide.prefilled(wide.contiguous, LENGTHS)
    assert isinstance(tiny.model.kv, PagedStore)
    static, bucket = tiny.model.static_step, Bucket(8, 4)
    inputs = torch.tensor(fill(bucket, decode_rows(kvs, tokens), None))
    with torch.inference_mode():
        ours = static.run(tiny.weights, inputs, torch.zeros(static.workspace_bytes(bucket), dtype=torch.uint8))
    ragged = tiny.eager_logits(tiny.contiguous, decode_rows(eager_kvs, tokens))
    right = wide.eager_logits(wide.contiguous, decode_rows(exact_kvs, tokens))
    error = {name: float((each.float() - right).norm() / right.norm()) for name, each in (("o", ours), ("r", ragged))}
    assert 0 < error["o"] < 1.5 * error["r"], error
