"""What a run shows: speeds over time stamps, texts that are the same."""

from __future__ import annotations

from coe.bench.engine.contender import Speeds, Trace, same_share


def test_decode_speed_counts_only_what_came_after_everybodys_first_token() -> None:
    trace = Trace([[1, 2, 3], [1, 2, 3]], [[1.0, 1.5, 3.0], [2.0, 3.0, 4.0]])
    assert trace.prefilled_s == 2.0
    assert trace.decode_tokens_per_s == 3 / 2.0


def test_speeds_are_medians_over_runs_and_a_prefill_lasts_until_everybodys_first_token() -> None:
    def trace(delay_s: float) -> Trace:
        return Trace([[1, 2], [1, 2]], [[1.0, 3.0 + delay_s], [2.0, 4.0 + delay_s]])

    speeds = Speeds.of([trace(0.0), trace(1.0), trace(100.0)], 10)
    assert speeds == Speeds(
        decode_tokens_per_s=round(2 / 3.0, 2),
        prefill_tokens_per_s=5.0,
        first_token_ms=1500.0,
        last_first_token_ms=2000.0,
    )


def test_texts_are_compared_whole_and_in_their_places() -> None:
    assert same_share([[1, 2], [3], [4]], [[1, 2], [3, 3], [4]]) == 0.667
