"""Counters: a snapshot is everything counted so far, stays as it was, and loses nothing to threads."""

from __future__ import annotations

import threading

from coe.telemetry.histogram import SECONDS
from coe.telemetry.metrics import Gauges, Metrics
from coe.types import SwitchKind, Tier
from coe.weights.transfer import Arrived


def test_snapshot_has_what_was_counted_and_stays_as_it_was() -> None:
    metrics = Metrics()
    metrics.finished("code", "ok")
    metrics.passed_over("sql", "queue")
    metrics.stepped(10, 2)
    metrics.stepped(0, 3)
    metrics.switched("code", SwitchKind.HOST_HIT)
    before = metrics.snapshot()
    metrics.finished("code", "ok")
    assert before.requests == {("code", "ok"): 1}
    assert before.passed_over == {("sql", "queue"): 1}
    assert (before.prompt_tokens, before.completion_tokens, before.steps) == (10, 5, 2)
    assert before.switches == {("code", SwitchKind.HOST_HIT): 1}
    assert metrics.snapshot().requests == {("code", "ok"): 2}


def test_failed_transfers_move_no_bytes() -> None:
    metrics = Metrics()
    metrics.loaded(Arrived("x", 100, Tier.HOST, 1.0, 3.0))
    metrics.loaded(Arrived("x", 100, Tier.HOST, 4.0, 5.0, OSError("gone")))
    metrics.loaded(Arrived("x", 100, Tier.DEVICE, 5.0, 5.5))
    found = metrics.snapshot()
    assert found.loaded_bytes == {Tier.HOST: 100, Tier.DEVICE: 100}
    assert found.load_s == {Tier.HOST: 2.0, Tier.DEVICE: 0.5}


def test_observations_fall_under_the_first_bound_that_is_not_below_them() -> None:
    metrics = Metrics()
    for seconds in (0.0005, SECONDS[0], 0.3, 1e6):
        metrics.first_token(seconds)
    found = metrics.snapshot().first_token
    assert found.counts[0] == 2
    assert found.counts[SECONDS.index(0.5)] == 1
    assert found.counts[-1] == 1
    assert len(found.counts) == len(found.bounds) + 1
    assert found.sum_s == sum((0.0005, SECONDS[0], 0.3, 1e6))


def test_gauges_are_read_from_their_owner_when_asked() -> None:
    metrics, queued = Metrics(), {"code": 1}
    metrics.read_gauges_with(lambda: Gauges(queued=dict(queued)))
    assert metrics.snapshot().gauges.queued == {"code": 1}
    queued["code"] = 7
    assert metrics.snapshot().gauges.queued == {"code": 7}


def test_nothing_is_lost_to_threads() -> None:
    metrics = Metrics()

    def count() -> None:
        for _ in range(2000):
            metrics.finished("a", "ok")
            metrics.routed(0.01)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = metrics.snapshot()
    assert found.requests["a", "ok"] == sum(found.route.counts) == 8000
