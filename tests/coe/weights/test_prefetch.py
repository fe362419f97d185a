"""Units of experts that are expected, loaded before a lease asks for them."""

from __future__ import annotations

from pathlib import Path

from weight_caches import MakeCache, RealCache, names

from coe.types import SwitchKind, Tier


def test_what_is_expected_comes_closer_without_a_lease_in_execution_order(make: MakeCache) -> None:
    real = make({"a": names("a", 4), "b": names("b", 2)})
    real.cache.expect(["a", "b"])
    real.drain()
    assert real.store.started == [*names("a", 4), *names("b", 2)]
    with real.cache.lease("a") as lease:
        assert lease.is_ready
        assert lease.cost.kind is SwitchKind.DEVICE_HIT


def test_over_the_copy_link_a_prefetch_leaves_the_embedding_for_last_as_a_lease_does(tmp_path: Path) -> None:
    real = RealCache(tmp_path, {"a": names("a", 4)}, host=6, device=6)
    with real.cache.lease("a") as lease:
        real.settle(lease)
    real.cache.unload("a", keeps_host=True)
    real.cache.expect(["a"])
    real.drain()
    first, *layers = (unit.hash for unit in real.units["a"])
    assert list(real.cache._front.frames) == [*layers, first], "in the order in which their copies began"


def test_expecting_others_gives_a_prefetch_up(make: MakeCache) -> None:
    real = make({"a": names("a", 6), "b": names("b", 4)})
    real.cache.expect(["a"])
    real.cache.expect(["b"])
    real.drain()
    assert real.store.started[-4:] == names("b", 4)
    assert len([name for name in real.store.started if name.startswith("a")]) <= 2, "what was under way, and no more"


def test_prefetch_waits_while_a_lease_needs_the_copy_link(make: MakeCache) -> None:
    real = make({"a": names("a", 3), "b": names("b", 3)})
    lease = real.cache.lease("a")
    real.cache.expect(["b"])
    real.settle(lease)
    assert real.store.started[:3] == names("a", 3)
    real.drain()
    assert real.cache.report.residency("b").tier is Tier.DEVICE


def test_prefetch_takes_nothing_that_is_leased_pinned_or_wanted_sooner(make: MakeCache) -> None:
    real = make({name: names(name, 2) for name in ("leased", "pinned", "soon", "late")})
    for name in ("leased", "pinned", "soon"):
        with real.cache.lease(name) as lease:
            real.settle(lease)
    real.cache.pin("pinned")
    with real.cache.lease("leased"):
        real.cache.expect(["soon", "late"])
        real.drain()
        assert [real.cache.report.residency(name).tier for name in ("leased", "pinned", "soon")] == [Tier.DEVICE] * 3
        assert real.cache.report.residency("late").device_bytes == 0


def test_prefetch_takes_the_room_of_what_is_worth_less(make: MakeCache) -> None:
    real = make({name: names(name, 3) for name in ("hot", "cold", "next")})
    for name in ("hot", "cold"):
        with real.cache.lease(name) as lease:
            real.settle(lease)
    for _ in range(5):
        real.cache.count_request("hot")
    real.cache.expect(["next"])
    real.drain()
    tiers = {name: real.cache.report.residency(name).tier for name in ("hot", "cold", "next")}
    assert tiers == {"hot": Tier.DEVICE, "cold": Tier.DISK, "next": Tier.DEVICE}


def test_a_prefetch_that_fails_is_given_up_and_fails_no_lease(make: MakeCache) -> None:
    """A prefetch that was tried again at once failed again at once, without end."""
    real = make({"bad": names("b", 2), "good": names("g", 2)})
    real.path("bad", 1).unlink()
    real.cache.expect(["bad", "good"])
    real.drain()
    assert real.cache.report.residency("good").tier is Tier.DEVICE
    assert real.store.started.count("b1") == 1
    with real.cache.lease("bad") as lease:
        assert [failure.expert for failure in real.settle(lease)] == ["bad"]
