"""Ratios, fractions and tables of given cells."""

from __future__ import annotations

from dataclasses import replace

from coe.bench.engine.cells import (
    Cell,
    DeviceCell,
    captured_over_eager,
    device_table,
    fraction_of_ceiling,
    ratios_to_coe,
    table_of,
)

COE = Cell("coe", 1, 64, 50.0, 400.0, 12.0, 12.0, 3, 1.0)
RIVAL = replace(COE, contender="rival", decode_tokens_per_s=25.0, prefill_tokens_per_s=800.0)


def test_a_ratio_above_one_says_that_coe_is_faster_in_the_same_cell() -> None:
    larger = [replace(each, batch_size=4, decode_tokens_per_s=each.decode_tokens_per_s * 2) for each in (COE, RIVAL)]
    ratios = ratios_to_coe([COE, RIVAL, *larger])
    assert [(row["batch_size"], row["rival"], row["decode"], row["prefill"]) for row in ratios] == [
        (1, "rival", 2.0, 0.5),
        (4, "rival", 2.0, 0.5),
    ]


def test_only_batch_1_has_a_ceiling() -> None:
    assert fraction_of_ceiling(50.0, 1, 200.0) == 0.25
    assert fraction_of_ceiling(50.0, 4, 200.0) is None
    rows = [line.split() for line in table_of([COE, replace(COE, batch_size=4)], 200.0).splitlines()[1:]]
    assert [row[4] for row in rows] == ["25%", "-"]


def test_captured_steps_are_compared_with_eager_ones_of_the_same_cell() -> None:
    captured = DeviceCell("a", True, 1, 64, 90.0, 400.0, 1.0, 1.0, 0.5)
    cells = [captured, replace(captured, is_captured=False, decode_tokens_per_s=30.0)]
    assert captured_over_eager(cells) == [{"batch_size": 1, "prompt_tokens": 64, "decode": 3.0}]
    assert [line.split()[1] for line in device_table(cells).splitlines()[1:]] == ["captured", "eager"]
