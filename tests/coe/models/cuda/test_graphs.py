"""Which decode steps are captured, whom they serve, when they go, and that their bytes stay within the budget."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from decode_steps import Replayer, Tiny, decode_rows, greedy

from coe.models.cuda.graphs import WORTH_STEPS, DecodeGraphs
from coe.models.model import Row, Step, is_decode_row

CPU = torch.device("cpu")
BUDGET = 8 << 20


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    return Tiny("llama", tmp_path, CPU)


def graphs_of(recorder: Replayer, budget_bytes: int = BUDGET, worth_steps: int = 1) -> DecodeGraphs:
    return DecodeGraphs(budget_bytes, recorder, worth_steps=worth_steps)


def decoded(tiny: Tiny, graphs: DecodeGraphs, lengths: tuple[int, ...], num_steps: int) -> list[list[int]]:
    """Greedy tokens through steps of a whole expert, after the prompts of `prefilled`."""
    tiny.model.graphs = graphs
    kvs, tokens = tiny.prefilled(tiny.model, lengths)
    found = [[token] for token in tokens]
    for _ in range(num_steps):
        step = Step(tiny.model, decode_rows(kvs, tokens), len(tiny.weights), is_whole=True)
        step.advance(len(tiny.weights), tiny.weights.__getitem__)
        assert step.is_done
        tokens = greedy(step.logits())
        for own, token in zip(found, tokens, strict=True):
            own.append(token)
        graphs.check_integrity()
    return found


def eager(tiny: Tiny, lengths: tuple[int, ...], num_steps: int) -> list[list[int]]:
    kvs, tokens = tiny.prefilled(tiny.contiguous, lengths)
    found = [[token] for token in tokens]
    for _ in range(num_steps):
        tokens = tiny.eager(tiny.contiguous, kvs, [[token] for token in tokens])
        for own, token in zip(found, tokens, strict=True):
            own.append(token)
    return found


@pytest.mark.parametrize("lengths", [(60,), (5, 63, 130), (1, 2, 3, 4, 5, 6, 7, 8)])
def test_tokens_through_captured_steps_are_eager_ones(tiny: Tiny, lengths: tuple[int, ...]) -> None:
    graphs = graphs_of(Replayer())
    assert decoded(tiny, graphs, lengths, 70) == eager(tiny, lengths, 70)
    assert graphs.num_captured >= 1
    assert graphs.num_replays + graphs.num_captured == 70


def test_a_step_is_captured_when_it_was_wanted_often_enough(tiny: Tiny) -> None:
    graphs = graphs_of(Replayer(), worth_steps=WORTH_STEPS)
    found = decoded(tiny, graphs, (5,), WORTH_STEPS - 1)
    assert graphs.num_captured == 0
    found = decoded(tiny, graphs, (5,), 5)
    assert (graphs.num_captured, graphs.num_replays) == (1, 4)
    assert found == eager(tiny, (5,), 5)


def test_an_expert_at_the_same_addresses_is_served_by_the_same_captures(tiny: Tiny, tmp_path: Path) -> None:
    graphs, other = graphs_of(Replayer()), Tiny("llama", tmp_path / "other", CPU, seed=12)
    first = decoded(tiny, graphs, (5, 9), 10)
    for slot, flat in zip(tiny.flats, other.flats, strict=True):
        slot.copy_(flat)  # the other expert is switched in where the first one was
    second = decoded(tiny, graphs, (5, 9), 10)
    assert graphs.num_captured == 1
    assert second == eager(other, (5, 9), 10) != first


def test_an_expert_elsewhere_has_captures_of_its_own(tiny: Tiny) -> None:
    graphs = graphs_of(Replayer())
    expected = decoded(tiny, graphs, (5,), 4)
    tiny.flats = [flat.clone() for flat in tiny.flats]
    tiny.weights = [tiny.model.bind(unit, flat) for unit, flat in zip(tiny.manifest.units, tiny.flats, strict=True)]
    assert decoded(tiny, graphs, (5,), 4) == expected
    assert graphs.num_captured == 2


def test_captures_over_memory_that_is_given_back_go(tiny: Tiny) -> None:
    recorder = Replayer()
    graphs = graphs_of(recorder)
    decoded(tiny, graphs, (5,), 4)
    decoded(tiny, graphs, (5, 6), 4)
    assert graphs.num_captured == 2
    graphs.forget(tiny.flats[0].data_ptr() + tiny.flats[0].numel(), 4096)
    untouched = graphs.num_captured
    graphs.forget(tiny.flats[1].data_ptr(), tiny.flats[1].numel())
    assert (untouched, graphs.num_captured, recorder.num_closed) == (2, 0, 2)


def test_the_least_recently_used_go_beyond_the_budget(tiny: Tiny) -> None:
    recorder = Replayer(size_bytes=1 << 20)
    graphs = graphs_of(recorder)
    for lengths in ((5,), (5, 6), (5, 6, 7), (5,), tuple(range(1, 9))):
        decoded(tiny, graphs, lengths, 3)
    assert graphs.used_bytes <= BUDGET
    assert recorder.num_closed == 4 - graphs.num_captured
    captured = graphs.num_captured
    decoded(tiny, graphs, (5,), 1)
    assert graphs.num_captured == captured  # it was used after (5, 6), which has gone before it


def test_a_budget_too_small_for_one_capture_means_eager_steps_and_no_second_try(tiny: Tiny) -> None:
    for budget_bytes, size_bytes in ((BUDGET, BUDGET), (4096, 0)):
        recorder = Replayer(size_bytes)
        graphs = graphs_of(recorder, budget_bytes)
        assert decoded(tiny, graphs, (5, 6), 20) == eager(tiny, (5, 6), 20)
        assert (graphs.num_captured, graphs.num_replays) == (0, 0)
        assert recorder.num_closed <= 1


def test_too_many_rows_or_too_long_a_context_run_eagerly(tiny: Tiny) -> None:
    graphs = graphs_of(Replayer())
    decoded(tiny, graphs, (1,) * 33, 2)
    assert graphs.num_captured == 0
    graphs = graphs_of(Replayer(), 160 << 10)  # 80 kB of workspace: 5 blocks of 16 kB
    decoded(tiny, graphs, (400,), 2)
    assert graphs.num_captured == 0
    decoded(tiny, graphs, (40,), 2)
    assert graphs.num_captured == 1


def test_only_rows_of_one_token_with_logits_are_decode_rows(tiny: Tiny) -> None:
    kv = tiny.model.new_kv(8)
    assert all(map(is_decode_row, [Row((3,), kv), Row((4,), kv)]))
    assert not is_decode_row(Row((4, 5), kv))
    assert not is_decode_row(Row((3,), kv, num_logits=0))
    assert not is_decode_row(Row((3,), kv, is_prompt=True))


def test_no_memory_for_a_capture_means_eager_steps(tiny: Tiny) -> None:
    class Full(Replayer):
        def record(self, work: object) -> object:  # type: ignore[override]
            raise torch.OutOfMemoryError(f"none left for {work}")

    graphs = graphs_of(Full())
    assert decoded(tiny, graphs, (5,), 6) == eager(tiny, (5,), 6)
    assert graphs.num_captured == 0


def test_closing_gives_all_back(tiny: Tiny) -> None:
    recorder = Replayer(size_bytes=10)
    graphs = graphs_of(recorder)
    decoded(tiny, graphs, (5,), 3)
    graphs.close()
    assert graphs.used_bytes == 0
    assert recorder.num_closed == 1
