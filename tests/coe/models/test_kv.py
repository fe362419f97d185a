"""Memory of a sequence's keys and values: what it really takes, that it grows without loss, and that it goes back."""

from __future__ import annotations

import itertools
import mmap

import pytest
import torch
from pages import resident_bytes

from coe.models import kv as kv_module
from coe.models.kv import KvShape, SequenceKv

SHAPES = [
    KvShape(num_layers=3, num_kv_heads=2, head_dim=dim, dtype=dtype, device=torch.device("cpu"))
    for dim, dtype in ((64, torch.float32), (128, torch.bfloat16), (16, torch.float16), (24, torch.float32))
]


def run(kv: SequenceKv, shape: KvShape, num_tokens: int) -> None:
    """What a step does: write the new tokens in every layer (each token's number), then advance."""
    kv.reserve(kv.length + num_tokens)
    window = kv.window(num_tokens)
    numbers = torch.arange(kv.length, kv.length + num_tokens).to(shape.dtype)[:, None]
    for layer in range(shape.num_layers):
        window.new_keys[layer].copy_(numbers.expand(shape.num_kv_heads, -1, shape.head_dim))
        window.new_values[layer].copy_(-numbers.expand(shape.num_kv_heads, -1, shape.head_dim))
    kv.advance(num_tokens)


def assert_numbered(kv: SequenceKv, shape: KvShape, num_tokens: int) -> None:
    assert kv.length == num_tokens
    window = kv.window(0)
    numbers = torch.arange(num_tokens).to(shape.dtype)[None, :, None]
    for keys, values in zip(window.keys, window.values, strict=True):
        assert keys.shape == (shape.num_kv_heads, num_tokens, shape.head_dim)
        assert all(head.is_contiguous() for head in (*keys, *values)), "attention reads a head in one piece"
        assert (keys == numbers).all()
        assert (values == -numbers).all()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_pages_come_with_the_tokens_and_never_exceed_what_is_reserved(shape: KvShape) -> None:
    kv = SequenceKv(shape, 4096)
    assert resident_bytes(kv) == 0
    for num_new in (1, 40, 23, 1, 300, 1, 1):
        run(kv, shape, num_new)
        assert 0 < resident_bytes(kv) <= shape.size_bytes(kv.length)
    assert resident_bytes(kv) > shape.size_bytes(kv.length - 128), "and are no fewer than that"
    assert_numbered(kv, shape, 367)
    assert shape.size_bytes(4096) > 10 * resident_bytes(kv)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_copy_takes_what_its_tokens_take_and_is_its_own(shape: KvShape) -> None:
    kv = SequenceKv(shape, 1000)
    run(kv, shape, 200)
    copy = kv.copy(70, 2000)
    assert 0 < resident_bytes(copy) <= shape.size_bytes(70)
    run(copy, shape, 5)
    run(kv, shape, 1)
    assert_numbered(copy, shape, 75)
    assert_numbered(kv, shape, 201)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_where_addresses_are_not_free_it_moves_and_loses_nothing(
    shape: KvShape, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GPUs, and kernels that count every page that was ever promised."""
    monkeypatch.setattr(kv_module, "_is_address_space_free", lambda: False)
    kv = SequenceKv(shape, 10_000)
    assert kv._keys.untyped_storage().nbytes() == 0
    for _, num_new in zip(range(8), itertools.cycle((1, 63, 70)), strict=False):
        run(kv, shape, num_new)
        assert kv._keys.untyped_storage().nbytes() == shape.size_bytes(kv.length)
    assert_numbered(kv, shape, 2 * 134 + 64)


def test_its_memory_goes_back_with_it() -> None:
    shape = SHAPES[0]
    kv = SequenceKv(shape, 64_000)
    start, size = kv._keys.untyped_storage().data_ptr(), kv._keys.untyped_storage().nbytes()
    assert any(low <= start < high for low, high in maps())
    del kv
    assert not any(low <= start < high and high - low >= size for low, high in maps())


def maps() -> list[tuple[int, int]]:
    with open("/proc/self/maps") as file:
        spans = [line.split()[0].split("-") for line in file]
    return [(int(low, 16), int(high, 16)) for low, high in spans]


def test_bytes_are_whole_pages_of_whole_blocks() -> None:
    wide, narrow = SHAPES[0], SHAPES[3]
    assert wide.size_bytes(1) == wide.size_bytes(64) == 2 * 3 * 2 * 64 * 64 * 4
    assert wide.size_bytes(65) == 2 * wide.size_bytes(64)
    assert narrow.size_bytes(64) == 2 * 3 * 2 * 2 * mmap.PAGESIZE  # 6,144 bytes a row
    assert narrow.size_bytes(128) == 2 * 3 * 2 * 3 * mmap.PAGESIZE
