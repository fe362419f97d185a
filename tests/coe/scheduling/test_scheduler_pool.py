"""The scheduler over a tier's real books under a virtual clock: memory is never promised twice, and every job ends.

Loads move one unit at a time; arrivals, failures, cancellations and pins come in a seeded random order.
"""

from __future__ import annotations

import random
from collections.abc import Collection

import pytest
from virtual_machine import POLICIES

from coe.errors import OverloadedError, PinnedOutError
from coe.scheduling.effects import Acquire, Fail, Release, Resume, Run
from coe.scheduling.job import Job
from coe.scheduling.limits import Limits
from coe.scheduling.scheduler import Scheduler
from coe.weights.residency.claims import Claim
from coe.weights.residency.eviction import LruEviction
from coe.weights.residency.recency import Recency
from coe.weights.residency.tier_books import TierBooks
from coe.weights.residency.unit_index import UnitIndex
from coe.weights.unit import Unit


class World:
    """Experts of several units in one tier; every turn decides, does, steps and lets one unit arrive."""

    def __init__(
        self, experts: dict[str, tuple[Unit, ...]], budget: int, *, policy: str = "value", **limits: float
    ) -> None:
        self.experts = experts
        index, self.recency = UnitIndex(), Recency()
        self.books = TierBooks.of(budget, index, LruEviction(index, self.recency))
        for name, units in experts.items():
            index.register(name, units)
        self.scheduler = Scheduler(self, Limits(**{"kv_bytes": 100, **limits}), POLICIES[policy]())  # type: ignore[arg-type]
        self.now_s = 0.0
        self.leases: list[str] = []  # in order of acquisition
        self.claims: dict[str, Claim] = {}
        self.steps: dict[str, Run] = {}
        self.wanted: dict[str, int] = {}  # tokens that a job has yet to sample
        self.prompts: dict[str, int] = {}
        self.ended: dict[str, str] = {}

    # the scheduler's view
    def is_resident(self, expert: str) -> bool:
        return not self.books.missing_bytes(expert)

    def can_lease(self, expert: str, giving_up: Collection[str] = ()) -> bool:
        return self.books.claims.can_lease(expert, giving_up)

    def pins_against(self, expert: str) -> tuple[str, ...]:
        return self.books.claims.pins_against(expert)

    def num_ready(self, expert: str) -> int:
        return self.books.num_leading(expert)

    def load_s(self, expert: str) -> float:
        return self.books.missing_bytes(expert) / 100

    # events
    def arrive(self, job_id: str, expert: str, num_tokens: int = 3, prompt: int = 5, kv: int = 10) -> bool:
        try:
            job = Job(job_id, expert, prompt, prompt + num_tokens - 1, lambda _: kv, self.now_s)
            self.scheduler.admit([job], self.now_s)
        except (OverloadedError, PinnedOutError):
            return False
        self.wanted[job_id], self.prompts[job_id] = num_tokens, prompt
        return True

    def cancel(self, job_id: str) -> None:
        if self.scheduler.cancel(job_id):
            self.ended[job_id] = "cancelled"

    def fail(self, expert: str) -> None:
        self.steps.pop(expert, None)
        for job_id in self.scheduler.fail_expert(expert):
            self.ended[job_id] = "failed"
        if expert in self.leases:
            self.leases.remove(expert)
            self.books.claims.unlease(expert, self.claims.pop(expert))

    def pin(self, expert: str) -> None:
        self.books.claims.pin(expert)
        for fail in self.scheduler.pinned():
            self.ended[fail.job_id] = "failed"

    def turn(self) -> None:
        schedule = self.scheduler.decide(self.now_s)
        waiting = {queue.expert for queue in self.scheduler.queues.by_expert.values() if queue.jobs}
        assert not any(self.pins_against(expert) for expert in waiting - set(self.leases)), "no eviction helps these"
        for effect in schedule.effects:
            match effect:
                case Acquire(expert):
                    self.claims[expert] = self.books.claims.lease(expert)
                    self.recency.touch(expert, self.now_s)
                    self.leases.append(expert)
                case Release(expert):
                    self.leases.remove(expert)
                    self.books.claims.unlease(expert, self.claims.pop(expert))
                case Fail(job_id, _):
                    self.ended[job_id] = "failed"
                case Run(expert, _):
                    self.steps[expert] = effect
        self.check()
        self.now_s += 0.1
        if isinstance(schedule.step, Run | Resume):
            self._step(schedule.step.expert)
        self._arrive_unit()
        self.check()

    def check(self) -> None:
        self.scheduler.check_integrity()
        self.books.check_integrity()
        assert self.books.claims.promised_bytes() <= self.books.claims.budget_bytes, "memory was promised twice"

    def _step(self, expert: str) -> None:
        if not self.is_resident(expert):
            self.scheduler.stopped(expert, self.num_ready(expert), self.now_s)
            return
        ended = []
        for job_id, num_tokens in self.steps.pop(expert).num_tokens.items():
            self.prompts[job_id] -= num_tokens
            if self.prompts[job_id] <= 0:
                self.wanted[job_id] -= 1
                if not self.wanted[job_id]:
                    ended.append(job_id)
                    self.ended[job_id] = "done"
        for job_id in self.scheduler.stepped(expert, ended, self.now_s):
            self.ended[job_id] = "cancelled"

    def _arrive_unit(self) -> None:
        residents = self.books.residents
        absent = (unit for expert in self.leases for unit in self.experts[expert] if residents.is_absent(unit))
        unit = next(absent, None)
        if unit is None:
            return
        victims = self.books.eviction.victims(unit.size_bytes)
        assert victims is not None, "a lease was given for memory that cannot be had"
        for unit_hash in victims:
            residents.drop(unit_hash)
        residents.reserve(unit)
        residents.commit(unit)

    def run(self, max_turns: int = 5000) -> None:
        while self.scheduler.queues.jobs:
            self.turn()
            max_turns -= 1
            assert max_turns, f"{len(self.scheduler.queues.jobs)} jobs never ended"


def units(name: str, count: int, size: int = 10) -> tuple[Unit, ...]:
    return tuple(Unit(f"{name}{at}", f"{name}{at}", size, ()) for at in range(count))


def test_two_warm_experts_are_not_leased_into_the_room_of_a_load_under_way() -> None:
    """Each fitted beside the load alone. Both were leased in one decision, before the table had counted either, and
    under a steady flood for both the load could never end."""
    world = World({"cold": units("x", 4), "a": units("a", 3), "b": units("b", 3)}, 95, slice_steps=4)
    for expert in ("a", "b"):
        for unit in world.experts[expert]:
            world.books.residents.reserve(unit)
            world.books.residents.commit(unit)
    world.arrive("cold-1", "cold")
    world.turn()
    for turn in range(60):
        world.arrive(f"a{turn}", "a", num_tokens=1)
        world.arrive(f"b{turn}", "b", num_tokens=1)
        world.turn()
    assert world.ended.get("cold-1") == "done"


@pytest.mark.parametrize("policy", ["value", "fcfs"])
@pytest.mark.parametrize("seed", range(8))
def test_every_job_ends_and_memory_is_never_promised_twice(seed: int, policy: str) -> None:
    chance = random.Random(seed)
    common = units("common", 2)
    experts = {
        name: (*(common if chance.random() < 0.4 else ()), *units(name, chance.randrange(1, 6))) for name in "abcdef"
    }
    largest = max(sum(unit.size_bytes for unit in own) for own in experts.values())
    world = World(
        experts,
        largest + chance.randrange(0, 60),
        policy=policy,
        max_wait_s=1.0,
        slice_steps=chance.randrange(1, 6),
        max_batch_size=chance.randrange(1, 5),
        max_step_tokens=chance.randrange(1, 9),
        deadline_s=chance.choice((5.0, 300.0)),
    )
    accepted: list[str] = []
    for number in range(500):
        expert, kind = chance.choice("abcdef"), chance.random()
        if kind < 0.35:
            size = chance.randrange(1, 101)
            if world.arrive(f"job-{number}", expert, chance.randrange(1, 6), chance.randrange(1, 20), size):
                accepted.append(f"job-{number}")
        elif kind < 0.42 and accepted:
            world.cancel(chance.choice(accepted))
        elif kind < 0.44:
            world.fail(expert)
        elif kind < 0.48:
            if world.books.claims.can_lease(expert) and chance.random() < 0.4:
                world.pin(expert)
            else:
                world.books.claims.unpin(expert)
        else:
            world.turn()
        world.check()
    for expert in "abcdef":
        world.books.claims.unpin(expert)
    world.run()
    assert world.ended.keys() == set(accepted)
