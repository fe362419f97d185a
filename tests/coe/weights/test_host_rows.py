"""The first unit runs from its host bytes and travels last over the copy link."""

from __future__ import annotations

from pathlib import Path

from weight_caches import RealCache, names


def test_over_a_copy_link_the_first_unit_runs_from_its_host_bytes_and_travels_last(tmp_path: Path) -> None:
    real = RealCache(tmp_path, {"a": names("a", 4), "b": names("b", 4)}, host=8, device=4)
    for expert in ("a", "b"):
        with real.cache.lease(expert) as lease:
            real.settle(lease)
    with real.cache.lease("a") as lease:
        arrived = set()
        assert lease.num_ready() == 1, "the rows can be taken from the host at once"
        assert bytes(lease.payload(0, lambda _, flat: flat).numpy()) == real.bytes["a0"]  # type: ignore[attr-defined]
        while not lease.is_ready:
            event = real.events.get(timeout=30)
            arrived.add(real.cache._units[event.unit_hash].name)
            assert real.cache.on_arrived(event) == []
            real.cache.check_integrity()
            assert lease.num_ready() < 4 or "a0" in arrived, "the last unit computes with the first one's matrix"
        started = [real.cache._units[digest].name for digest in real.cache._front.frames]
        assert started == ["a1", "a2", "a3", "a0"]
        assert real.content("a") == real.expected("a")


def test_a_host_too_small_to_keep_the_first_unit_lets_it_travel_before(tmp_path: Path) -> None:
    real = RealCache(tmp_path, {"a": names("a", 4)}, host=1, device=4)
    with real.cache.lease("a") as lease:
        assert real.settle(lease) == []
        assert real.content("a") == real.expected("a")
