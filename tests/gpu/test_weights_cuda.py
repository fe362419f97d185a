"""Weights on a CUDA device: pinned memory, two streams, memory that is overwritten while compute is queued.

What has to wait for what is proven on the CPU with queues (tests/coe/weights/test_cache_run.py); here the real streams
do as those queues do. Compute is held up by `torch.cuda._sleep`, so that a copy that did not wait would be seen.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest
import torch
from compositions import ask, integrity, with_runtime, write_config

from coe.errors import ConfigError
from coe.runtime import Runtime
from coe.weights.cache import WeightCache
from coe.weights.memory import allocation
from coe.weights.memory.allocation import PinnedMemory
from coe.weights.memory.arena import Arena
from coe.weights.memory.device import StreamDevice, cuda_device
from coe.weights.store.unit_store import UnitStore
from coe.weights.transfer import Arrived
from coe.weights.unit import ALIGNMENT, Manifest, Unit

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
PAGE = ALIGNMENT
CUDA = torch.device("cuda")
LARGE = 64 << 20  # bytes: a copy that takes long enough to be overtaken
HOLD_CYCLES = 200_000_000  # about a tenth of a second of a GPU's clock


def random_bytes(num_bytes: int, seed: int) -> torch.Tensor:
    return torch.randint(0, 256, (num_bytes,), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def host() -> Iterator[Arena]:
    arena = Arena(PinnedMemory(4 * LARGE))
    yield arena
    torch.cuda.synchronize()
    arena.close()  # else the address stays registered when the memory is gone


def pinned(host: Arena, seed: int, num_bytes: int = LARGE) -> torch.Tensor:
    frame = host.allocate(num_bytes)
    assert frame is not None
    return frame.copy_(random_bytes(num_bytes, seed))


def place(device: StreamDevice[torch.cuda.Event], source: torch.Tensor) -> torch.Tensor:
    """A frame on the device that holds these bytes."""
    frame = device.arena.allocate(source.numel())
    assert frame is not None
    device.begin(source, frame)()
    device.join(frame)
    return frame


def test_registered_memory_is_pinned_from_end_to_end_and_no_longer_when_closed() -> None:
    seen: list[tuple[int, int]] = []
    pool = PinnedMemory(64 << 20, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (64 << 20, 64 << 20)
    assert pool.bytes[:PAGE].is_pinned()
    assert pool.bytes[-PAGE:].is_pinned()
    pool.close()
    assert not pool.bytes[:PAGE].is_pinned()


def test_a_copy_across_registered_pieces_brings_every_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocation, "REGISTER_BYTES", 1 << 20)
    pool = PinnedMemory(16 << 20)
    arena, device = Arena(pool), cuda_device(CUDA, 16 << 20)
    skipped = arena.allocate(3 * PAGE)
    source = arena.allocate(9 << 20)
    assert skipped is not None
    assert source is not None
    source.copy_(random_bytes(9 << 20, 0))
    target = place(device, source)
    assert torch.equal(target.cpu(), source)
    pool.close()


def test_memory_that_a_gpu_has_not_is_refused_with_the_remedy() -> None:
    with pytest.raises(ConfigError, match=r"1,125,899,906,842,624.*device_bytes"):
        cuda_device(CUDA, 1 << 50)


def test_bytes_that_queued_compute_reads_are_not_overwritten_by_the_next_copy(host: Arena) -> None:
    device = cuda_device(CUDA, LARGE)
    old, new = pinned(host, 1), pinned(host, 2)
    frame = place(device, old)
    torch.cuda._sleep(HOLD_CYCLES)  # type: ignore[no-untyped-call]
    seen = frame.clone()  # queued behind the sleep
    device.retire(frame)
    device.arena.free(frame)
    again = device.arena.allocate(LARGE)
    assert again is not None
    assert again.data_ptr() == frame.data_ptr()
    wait = device.begin(new, again)
    wait()
    assert torch.equal(seen.cpu(), old)
    assert torch.equal(again.cpu(), new)


def test_compute_that_is_queued_before_a_copy_has_ended_reads_what_it_brings(host: Arena) -> None:
    """Nobody waits on the host: the streams do."""
    device = cuda_device(CUDA, LARGE)
    source = pinned(host, 3)
    frame = device.arena.allocate(LARGE)
    assert frame is not None
    frame.zero_()
    torch.cuda.synchronize()
    device.begin(source, frame)
    device.join(frame)
    seen = frame.clone()
    assert torch.equal(seen.cpu(), source)


def test_frames_that_move_under_queued_compute_are_read_whole_before_and_after(host: Arena) -> None:
    device = cuda_device(CUDA, 3 * LARGE)
    first, second = pinned(host, 4), pinned(host, 5)
    gone, stays = place(device, first), place(device, second)
    torch.cuda._sleep(HOLD_CYCLES)  # type: ignore[no-untyped-call]
    before = stays.clone()
    device.retire(gone)
    device.arena.free(gone)
    moved = device.arena.compact(2 * LARGE, lambda _: True)
    assert moved is not None
    (now,) = moved.values()
    device.retire(stays)
    new = device.arena.allocate(2 * LARGE)
    assert new is not None
    copies = [device.begin(first, new[:LARGE]), device.begin(first, new[LARGE:])]
    after = now.clone()
    for wait in copies:
        wait()
    assert torch.equal(before.cpu(), second)
    assert torch.equal(after.cpu(), second)
    assert torch.equal(new.cpu(), torch.cat([first, first]))


def test_copies_are_queued_at_once_and_arrive_in_order(host: Arena) -> None:
    device = cuda_device(CUDA, 3 * LARGE)
    inbox: SimpleQueue[Arrived] = SimpleQueue()
    copier = device.copier(inbox.put)
    sources = [pinned(host, seed) for seed in range(3)]
    targets = [device.arena.allocate(LARGE) for _ in sources]
    for at, (source, target) in enumerate(zip(sources, targets, strict=True)):
        assert target is not None
        copier.copy(f"{at}", source, target)
    events = [inbox.get(timeout=60) for _ in sources]
    copier.close()
    assert [(event.unit_hash, event.error) for event in events] == [("0", None), ("1", None), ("2", None)]
    for source, target in zip(sources, targets, strict=True):
        assert target is not None
        assert torch.equal(target.cpu(), source)


# -- the cache over it


def content(name: str, num_bytes: int) -> bytes:
    return hashlib.shake_256(name.encode()).digest(num_bytes)


def queued_reads(flat: torch.Tensor, reads: list[tuple[torch.Tensor, bytes]], expected: bytes) -> None:
    reads.append((flat.clone(), expected))


@pytest.mark.parametrize("seed", range(3))
def test_whatever_comes_and_goes_compute_reads_the_units_own_bytes(tmp_path: Path, seed: int) -> None:
    """Experts of two shapes through a device that holds one and a half: evictions, moves and the same places again."""
    chance = random.Random(seed)
    store, inbox = UnitStore(tmp_path), SimpleQueue[Arrived]()
    shapes = {name: [256, 64, 64, 64, 128] if name in "abc" else [128, 160, 160, 32] for name in "abcdef"}
    cache = WeightCache(
        store,
        host_bytes=1200 * PAGE,
        device=cuda_device(CUDA, 900 * PAGE),
        device_bytes=900 * PAGE,
        post=inbox.put,
        host_memory=PinnedMemory(1200 * PAGE),
    )
    for name, sizes in shapes.items():
        units = tuple(
            Unit(f"{at}", store.put(memoryview(content(f"{name}{at}", size * PAGE))), size * PAGE, ())
            for at, size in enumerate(sizes)
        )
        cache.register(name, Manifest(name, "", "float32", {}, {}, "", units, {}), is_streamable=True)
    reads: list[tuple[torch.Tensor, bytes]] = []
    for step in range(120):
        name = chance.choice("abcdef")
        with cache.lease(name) as lease:
            while not lease.is_ready:
                assert cache.on_arrived(inbox.get(timeout=60)) == []
                cache.check_integrity()
            if step % 3 == 0:
                torch.cuda._sleep(HOLD_CYCLES // 20)  # type: ignore[no-untyped-call]
            for at, unit in enumerate(lease.units):
                flat = lease.payload(at, lambda _, flat: flat)
                assert isinstance(flat, torch.Tensor)
                queued_reads(flat, reads, content(f"{name}{at}", unit.size_bytes))
        if chance.random() < 0.3:
            cache.unload(chance.choice("abcdef"), keeps_host=chance.random() < 0.5)
        if len(reads) > 40:
            check(reads)
    check(reads)
    cache.close()


def check(reads: list[tuple[torch.Tensor, bytes]]) -> None:
    for seen, expected in reads:
        assert bytes(seen.cpu().numpy()) == expected
    reads.clear()


SHAPES = ("llama", "other_llama", "untied_llama", "qwen2", "qwen3")


def test_answers_stay_the_same_while_experts_evict_each_other_on_the_gpu(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Two of five fit: every answer is that of the first, undisturbed load, token for token."""
    folders = {shape: request.getfixturevalue(f"{shape}_folder") for shape in SHAPES}
    config = write_config(tmp_path, folders)
    text = config.read_text().replace('device = "cpu"', 'device = "cuda"\nkv_bytes = "8MB"')
    config.write_text(text.replace('host_bytes = "64MB"', 'host_bytes = "64MB"\ndevice_bytes = "9MB"'))
    chance = random.Random(0)

    async def work(runtime: Runtime) -> None:
        alone = {shape: await ask(runtime, shape, "Who goes there?", 24) for shape in SHAPES}

        async def again(shape: str) -> None:
            assert await ask(runtime, shape, "Who goes there?", 24) == alone[shape], shape

        for _ in range(12):
            await asyncio.gather(*(again(chance.choice(SHAPES)) for _ in range(6)))
            await integrity(runtime)
            await runtime.operator.unload(chance.choice(SHAPES))

    with_runtime(config, work)
