"""The scheduler under a virtual clock: pure decisions, so every property is exact and none depends on time passing."""

from __future__ import annotations

import random

import pytest
from virtual_machine import UNITS, Machine

from coe.errors import DeadlineError, InvalidRequestError, OverloadedError
from coe.scheduling.effects import Abandon, Acquire, Expect, Fail, Release, Resume, Run


def test_warm_expert_runs_while_a_cold_one_loads() -> None:
    machine = Machine(room=2, resident=["warm"])
    machine.arrive("cold-1", "cold")
    machine.turn()
    machine.arrive("warm-1", "warm", num_tokens=2)
    machine.turn()
    machine.turn()
    assert not machine.is_resident("cold")
    assert "warm" in machine.steps()
    machine.run()
    assert machine.failed == {}


def test_a_step_begins_on_the_leading_units_and_is_resumed() -> None:
    machine = Machine(room=1)
    machine.arrive("a", "cold")
    machine.run()
    kinds = [type(effect) for _, effect in machine.log]
    assert kinds.index(Run) < kinds.index(Resume)
    assert kinds.count(Acquire) == 1


def test_one_cold_load_at_a_time() -> None:
    machine = Machine(room=4)
    for expert in "abcd":
        machine.arrive(f"{expert}-1", expert)
    while machine.scheduler.queues.jobs:
        machine.turn()
        loading = [name for name in machine.leased if not machine.is_resident(name)]
        assert len(loading) <= 1


def test_no_job_waits_beyond_the_stated_bound_under_a_flood() -> None:
    """Two resident experts have a flood of requests, and one request asks for a cold one that has no room beside."""
    limits = {"max_wait_s": 2.0, "slice_steps": 4, "max_queue": 10_000, "max_queue_per_expert": 9999}
    machine = Machine(room=2, resident=["x", "y"], **limits)
    machine.arrive("lone", "cold")
    for turn in range(200):
        machine.arrive(f"x{turn}", "x", num_tokens=2)
        machine.arrive(f"y{turn}", "y", num_tokens=2)
        machine.turn()
        if "lone" in machine.first_step_s:
            break
    load_s, slice_s = UNITS * 0.1, 4 * 0.1
    assert machine.first_step_s["lone"] <= 2.0 + 3 * (load_s + slice_s)


def test_a_job_that_waits_for_a_batch_slot_shortens_no_slice() -> None:
    """Such jobs were overdue, and two experts that had them took the device from each other after every step."""
    machine = Machine(room=1, resident=["a", "b"], max_batch_size=1, max_wait_s=0.5, slice_steps=16)
    for number in range(2):
        for expert in "ab":
            machine.arrive(f"{expert}{number}", expert, num_tokens=64)
    machine.run()
    assert len(machine.steps()) == 4 * 64
    assert sum(isinstance(effect, Acquire) for _, effect in machine.log) <= 4 * 64 // 16 + 4


def test_cancelled_job_leaves_at_once_or_with_its_step() -> None:
    machine = Machine(room=1, resident=["a"])
    machine.arrive("waiting", "a")
    assert machine.scheduler.cancel("waiting")
    assert len(machine.scheduler.queues.jobs) == 0
    machine.arrive("running", "a", num_tokens=50)
    schedule = machine.scheduler.decide(0.0)
    assert isinstance(schedule.step, Run)
    machine.leased.add("a")
    assert not machine.scheduler.cancel("running")
    assert machine.scheduler.stepped("a", [], 0.1) == ["running"]
    assert len(machine.scheduler.queues.jobs) == 0
    assert not machine.scheduler.cancel("running")


def test_full_queues_refuse_by_name() -> None:
    machine = Machine(room=1, max_queue=3, max_queue_per_expert=2)
    machine.arrive("1", "a")
    machine.arrive("2", "a")
    with pytest.raises(OverloadedError, match="expert 'a'"):
        machine.arrive("3", "a")
    machine.arrive("4", "b")
    with pytest.raises(OverloadedError, match="max_queue"):
        machine.arrive("5", "c")
    with pytest.raises(InvalidRequestError, match="kv_bytes"):
        machine.arrive("6", "a", kv=5000)


def test_a_job_that_waits_beyond_the_deadline_fails_and_one_that_has_begun_does_not() -> None:
    machine = Machine(room=1, resident=["a"], deadline_s=1.0, max_batch_size=1)
    machine.arrive("first", "a", num_tokens=40)
    machine.turn()
    machine.arrive("second", "a")
    machine.run()
    assert isinstance(machine.failed["second"], DeadlineError)
    assert "first" not in machine.failed


def test_kv_is_never_reserved_twice_and_goes_to_overdue_jobs_in_order() -> None:
    machine = Machine(room=2, resident=["a", "b"], kv_bytes=100, max_wait_s=1.0)
    machine.arrive("big-1", "a", num_tokens=30, kv=90)
    machine.turn()
    machine.arrive("big-2", "b", num_tokens=2, kv=90)
    for turn in range(20):
        machine.now_s += 0.1
        machine.arrive(f"small-{turn}", "a", num_tokens=20, kv=10)
    machine.run()
    late = [name for name, at_s in machine.first_step_s.items() if at_s < machine.first_step_s["big-2"]]
    assert len(late) <= 12  # those that had begun before big-2 was overdue; the others waited for it


def test_expert_that_waits_for_kv_does_not_starve_the_one_that_holds_it() -> None:
    """The device holds one expert: `a` is paused and holds all KV, `b` is leased and cannot begin without KV."""
    machine = Machine(room=1, resident=["a"], kv_bytes=100, max_wait_s=0.5, slice_steps=2)
    machine.arrive("holder", "a", num_tokens=40, kv=100)
    machine.turn()
    machine.arrive("blocked", "b", kv=100)
    machine.run()
    assert machine.failed == {}


def under_pressure(*, is_younger: bool, deadline_s: float) -> Machine:
    """`big` lacks KV even when `first` has ended: `small` of a third expert is paused and holds the rest."""
    machine = Machine(room=3, resident=["a", "b", "c"], max_wait_s=1.0, deadline_s=deadline_s, slice_steps=2)
    machine.arrive("first", "a", num_tokens=12, kv=600)
    if not is_younger:
        machine.arrive("small", "c", num_tokens=40, kv=400)
    machine.turn()
    machine.arrive("big", "b", num_tokens=8, kv=800)
    if is_younger:
        machine.arrive("small", "c", num_tokens=40, kv=400)
    machine.run()
    return machine


def test_the_youngest_paused_job_is_preempted_for_an_older_one_and_still_ends() -> None:
    machine = under_pressure(is_younger=True, deadline_s=2.5)
    assert machine.preempted == ["small"]
    assert machine.failed == {}  # the deadline does not reach a preempted job
    assert machine.left == {"first": 0, "big": 0, "small": 0}
    runs = [effect.num_tokens for _, effect in machine.log if isinstance(effect, Run) and "small" in effect.num_tokens]
    again = next(tokens["small"] for tokens in runs[1:] if tokens["small"] > 1)
    assert again > 5  # the prompt and what it had said


def test_an_older_job_is_never_preempted_for_a_younger_one() -> None:
    machine = under_pressure(is_younger=False, deadline_s=300)
    assert machine.preempted == []
    assert machine.left == {"first": 0, "big": 0, "small": 0}


def test_tokens_found_in_a_kept_kv_are_not_prefilled() -> None:
    machine = Machine(room=1, resident=["a"], max_step_tokens=4)
    machine.arrive("job", "a", num_tokens=1, prompt=10)
    schedule = machine.scheduler.decide(0.0)
    assert schedule.step == Run("a", {"job": 4})
    machine.scheduler.reused("job", 7)
    machine.scheduler.stepped("a", [], 0.1)
    assert machine.scheduler.queues.jobs["job"].is_decoding


def test_prompts_are_prefilled_in_chunks_beside_decoding_jobs() -> None:
    machine = Machine(room=1, resident=["a"], max_step_tokens=4)
    machine.arrive("1", "a")
    machine.turn()
    machine.turn()
    machine.arrive("2", "a")
    schedule = machine.turn()
    assert isinstance(schedule.step, Run)
    assert schedule.step.num_tokens == {"1": 1, "2": 3}


def test_fcfs_runs_one_job_at_a_time_on_whole_experts() -> None:
    machine = Machine(room=2, policy="fcfs")
    for index, expert in enumerate("abab"):
        machine.arrive(f"{index}", expert, num_tokens=2)
    machine.run()
    runs = [effect for _, effect in machine.log if isinstance(effect, Run)]
    assert all(len(run.num_tokens) == 1 for run in runs)
    assert [name for run in runs for name in run.num_tokens] == ["0", "0", "1", "1", "2", "2", "3", "3"]
    assert not any(isinstance(effect, Resume) for _, effect in machine.log)


@pytest.mark.parametrize("seed", range(6))
def test_every_job_ends_whatever_the_order_of_events(seed: int) -> None:
    chance = random.Random(seed)
    policy = "fcfs" if seed % 3 == 2 else "value"
    machine = Machine(
        room=chance.randrange(1, 4), policy=policy, kv_bytes=60, max_wait_s=1.0, slice_steps=3, max_batch_size=4
    )
    alive: list[str] = []
    for number in range(400):
        kind = chance.random()
        if kind < 0.4:
            name = f"job-{number}"
            try:
                machine.arrive(name, chance.choice("abcdef"), chance.randrange(1, 6), kv=chance.randrange(1, 60))
                alive.append(name)
            except OverloadedError:
                pass
        elif kind < 0.5 and alive:
            machine.scheduler.cancel(chance.choice(alive))
        elif kind < 0.53:
            expert = chance.choice("abcdef")
            machine.running.pop(expert, None)
            machine.scheduler.fail_expert(expert)
            machine.leased.discard(expert)
        else:
            machine.turn()
        machine.scheduler.check_integrity()
    machine.run()


# -- experts that are leased next


def expectations(machine: Machine) -> list[tuple[str, ...]]:
    return [effect.experts for _, effect in machine.log if isinstance(effect, Expect)]


def test_waiting_experts_are_expected_until_they_have_run() -> None:
    machine = Machine(room=1, resident=["a"])
    machine.arrive("a-1", "a", num_tokens=30)
    machine.turn()
    machine.arrive("b-1", "b")
    machine.arrive("c-1", "c")
    machine.turn()
    assert set(expectations(machine)[-1]) == {"b", "c"}
    machine.run()
    machine.turn()
    assert expectations(machine)[-1] == ()


def test_the_expert_of_a_routed_prompt_is_expected_before_its_job_arrives_and_not_for_ever() -> None:
    machine = Machine(room=1)
    machine.scheduler.hint("a", 0.0)
    machine.turn()
    assert expectations(machine) == [("a",)]
    machine.arrive("a-1", "a")
    machine.turn()
    assert expectations(machine)[-1] == (), "it has its lease"
    machine.scheduler.hint("b", machine.now_s)
    machine.turn()
    machine.now_s += 60.0
    machine.turn()
    assert expectations(machine)[-1] == ()


def test_the_baseline_expects_no_expert() -> None:
    machine = Machine(room=1, policy="fcfs")
    machine.scheduler.hint("a", 0.0)
    machine.arrive("b-1", "b")
    machine.run()
    assert expectations(machine) == []


# -- a step that waits for weights


def stalled(machine: Machine, *job_ids: str) -> None:
    """Begin the first step of an expert that has one unit of four and gets no other."""
    for job_id in job_ids:
        machine.arrive(job_id, "cold")
    machine.scheduler.decide(0.0)
    machine.leased.add("cold")
    machine.ready["cold"] = 1
    schedule = machine.scheduler.decide(0.0)
    assert isinstance(schedule.step, Run)
    machine.scheduler.stopped("cold", 1, 0.0)


def test_the_deadline_ends_jobs_in_a_step_that_waits_and_closes_its_lease() -> None:
    machine = Machine(room=2, deadline_s=1.0)
    stalled(machine, "1", "2")
    schedule = machine.scheduler.decide(0.5)
    assert schedule.effects == ()
    assert schedule.wake_s == 1.0
    effects = machine.scheduler.decide(1.0).effects
    assert [effect.job_id for effect in effects if isinstance(effect, Fail)] == ["1", "2"]
    assert Abandon("cold") in effects
    assert Release("cold") in effects
    assert len(machine.scheduler.queues.jobs) == 0
    machine.scheduler.check_integrity()


def test_a_step_is_abandoned_only_when_every_job_in_it_is_cancelled() -> None:
    machine = Machine(room=2)
    stalled(machine, "1", "2")
    assert not machine.scheduler.cancel("1")
    assert machine.scheduler.decide(0.1).effects == ()
    assert not machine.scheduler.cancel("2")
    effects = machine.scheduler.decide(0.2).effects
    assert [effect.job_id for effect in effects if isinstance(effect, Fail)] == ["1", "2"]
    assert Abandon("cold") in effects
    assert len(machine.scheduler.queues.jobs) == 0


def test_a_job_that_expired_in_its_step_cannot_be_cancelled_too() -> None:
    """Its client leaves when it gets the error: ending the request a second time ended the engine."""
    machine = Machine(room=2, deadline_s=1.0)
    stalled(machine, "1")
    machine.arrive("2", "cold", 0.9)
    stalled_job = machine.scheduler.queues.jobs["1"]
    stalled_job.is_expired = True
    assert not machine.scheduler.cancel("1")
    assert not stalled_job.is_cancelled
    machine.scheduler.stopped("cold", 1, 0.5)
    assert machine.scheduler.stepped("cold", [], 0.6) == []
    assert "1" not in machine.scheduler.queues.jobs


def test_the_baseline_switches_as_soon_as_the_first_job_is_another_experts() -> None:
    """The expert before kept its lease for a later job that was not first: both waited, without an event, for 300 s."""
    machine = Machine(1, policy="fcfs", max_wait_s=1e9)
    machine.arrive("a1", "a")
    machine.arrive("b1", "b")
    machine.arrive("a2", "a")
    machine.run(max_turns=60)
    assert list(machine.first_step_s) == ["a1", "b1", "a2"]
    assert machine.failed == {}
