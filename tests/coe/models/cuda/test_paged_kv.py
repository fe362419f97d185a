"""KV in pages: the same logits as contiguous KV, shared until somebody writes, given back when nobody is left."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from decode_steps import Tiny, ids

from coe.models.cuda.paged_kv import KvPages, PagedStore, page_bytes_of
from coe.models.kv import KvShape
from coe.models.model import Kv, Row

CPU = torch.device("cpu")
SMALL = KvShape(3, 2, 16, torch.float32, CPU)
LARGE = KvShape(4, 8, 32, torch.bfloat16, CPU)


@pytest.fixture(params=["llama", "window of 8", "window of 100", "qwen3"])
def tiny(request: pytest.FixtureRequest, tmp_path: Path) -> Tiny:
    return Tiny(request.param, tmp_path, CPU)


def step(tiny: Tiny, kvs: list[tuple[Kv, Kv]], chunks: list[list[int]]) -> None:
    """Run the same chunks on paged and contiguous KV and compare."""
    paged = [Row(tuple(chunk), kv) for chunk, (kv, _) in zip(chunks, kvs, strict=True)]
    contiguous = [Row(tuple(chunk), kv) for chunk, (_, kv) in zip(chunks, kvs, strict=True)]
    found, expected = tiny.eager_logits(tiny.model, paged), tiny.eager_logits(tiny.contiguous, contiguous)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_random_runs_with_shared_prefixes_are_those_of_contiguous_kv(tiny: Tiny) -> None:
    rng = random.Random(0)
    alive: list[tuple[Kv, Kv]] = []
    for turn in range(60):
        if len(alive) < 2 or rng.random() < 0.3:
            alive.append((tiny.model.new_kv(300), tiny.contiguous.new_kv(300)))
            step(tiny, alive[-1:], [ids(turn, rng.randint(1, 140))])
        elif rng.random() < 0.3:
            paged, contiguous = rng.choice(alive)
            shared = rng.randint(1, paged.length)
            alive.append((tiny.model.copy_kv(paged, shared, 300), tiny.contiguous.copy_kv(contiguous, shared, 300)))
        elif len(alive) > 4:
            del alive[rng.randrange(len(alive))]
        some = [pair for pair in rng.sample(alive, min(len(alive), 3)) if pair[0].length < 250]
        if some:
            step(tiny, some, [ids(turn + 99 * n, rng.choice((1, 1, 9))) for n in range(len(some))])
        tiny.pages.check_integrity()
    del alive, some, paged, contiguous
    assert tiny.pages.used_bytes == 0


def test_a_prefix_takes_no_bytes_until_its_sequence_goes_on(tmp_path: Path) -> None:
    tiny = Tiny("llama", tmp_path, CPU)
    first = tiny.model.new_kv(100)
    tiny.eager(tiny.model, [first], [ids(0, 100)])
    before = tiny.pages.used_bytes
    assert before == tiny.model.kv_bytes(100)
    second = tiny.model.copy_kv(first, 90, 200)
    assert tiny.pages.used_bytes == before
    tiny.eager(tiny.model, [second], [ids(1, 1)])
    assert tiny.pages.used_bytes == before + tiny.pages.page_bytes  # the block that both had begun
    del first
    assert tiny.pages.used_bytes == before
    del second
    assert tiny.pages.used_bytes == 0


def test_bytes_reserved_are_bytes_taken(tmp_path: Path) -> None:
    tiny = Tiny("llama", tmp_path, CPU)
    for length in (1, 63, 64, 65, 128, 129):
        kv = tiny.model.new_kv(length)
        tiny.eager(tiny.model, [kv], [ids(length, length)])
        assert tiny.pages.used_bytes == tiny.model.kv_bytes(length)
        del kv


def test_shapes_share_one_budget_without_fragments() -> None:
    """Whatever one shape has given back another can take, to the last page."""
    page_bytes = page_bytes_of([SMALL, LARGE])
    assert page_bytes is not None
    pages = KvPages(9 * page_bytes, page_bytes, CPU)
    small, large = PagedStore(pages, SMALL), PagedStore(pages, LARGE)
    assert small.page_tokens > large.page_tokens == 64
    for one, other in ((small, large), (large, small)):
        mine, others = one.new(0), other.new(0)
        mine.reserve(4 * one.page_tokens)
        others.reserve(4 * other.page_tokens)
        assert pages.used_bytes == pages.budget_bytes
        with pytest.raises(MemoryError, match="in use"):
            other.new(0).reserve(1)
        del mine
        others.reserve(8 * other.page_tokens)
        pages.check_integrity()
        del others
    assert pages.used_bytes == 0


def test_slots_of_two_sequences_never_meet() -> None:
    page_bytes = page_bytes_of([SMALL, LARGE])
    assert page_bytes is not None
    pages = KvPages(8 * page_bytes, page_bytes, CPU)
    for shape in (SMALL, LARGE):
        store = PagedStore(pages, shape)
        kvs = [store.new(0), store.new(0)]
        for kv in kvs:
            kv.reserve(store.page_tokens + 1)
        places = {
            kv.slot(at) + 64 * layer
            for kv in kvs
            for at in range(store.page_tokens + 1)
            for layer in range(shape.num_layers)
        }
        assert len(places) == 2 * (store.page_tokens + 1) * shape.num_layers
        assert min(places) >= 64 * store.rows_per_page  # page 0 is for padding
        assert max(places) < len(store.tokens)


def test_shapes_whose_rows_do_not_fit_together_have_no_page() -> None:
    odd = KvShape(1, 7, 22, torch.float32, CPU)
    assert page_bytes_of([odd]) == 64 * 2 * 7 * 22 * 4
    assert page_bytes_of([odd, KvShape(1, 13, 26, torch.float32, CPU)]) is None
