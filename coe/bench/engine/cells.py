"""Cells of `coe bench engine`: figures at one batch size and prompt length, their tables, and ratios between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from coe.bench.report import table

__all__ = [
    "Cell",
    "DeviceCell",
    "captured_over_eager",
    "device_table",
    "fraction_of_ceiling",
    "ratio_table",
    "ratios_to_coe",
    "table_of",
]

HEADERS = ("batch", "prompt", "decode tok/s", "of ceiling", "prefill tok/s", "first token ms", "same text")


@dataclass(frozen=True, slots=True)
class Cell:
    """One contender at one batch size and prompt length; medians over runs."""

    contender: str
    batch_size: int
    prompt_tokens: int
    decode_tokens_per_s: float
    prefill_tokens_per_s: float
    first_token_ms: float
    last_first_token_ms: float
    num_runs: int
    same_tokens: float  # share of sequences whose tokens equal ours

    def __str__(self) -> str:
        return (
            f"batch {self.batch_size} prompt {self.prompt_tokens}: {self.contender}: decode "
            f"{self.decode_tokens_per_s:.1f} tokens/s, prefill {self.prefill_tokens_per_s:.0f} tokens/s"
        )


@dataclass(frozen=True, slots=True)
class DeviceCell:
    """One expert at one batch size, captured or eager; medians over runs."""

    expert: str
    is_captured: bool
    batch_size: int
    prompt_tokens: int
    decode_tokens_per_s: float
    prefill_tokens_per_s: float
    first_token_ms: float
    same_tokens: float  # share of sequences whose tokens are those of the captured run
    fraction_of_ceiling: float | None  # at batch 1


def fraction_of_ceiling(decode_tokens_per_s: float, batch_size: int, ceiling: float) -> float | None:
    """Return the share of the ceiling, which is that of batch 1; None for larger batches."""
    return round(decode_tokens_per_s / ceiling, 3) if batch_size == 1 else None


def ratios_to_coe(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """coe's figures over each rival's in the same cell: above 1, coe is faster."""
    ratios = []
    for (length, size), group in groupby(cells, key=lambda cell: (cell.prompt_tokens, cell.batch_size)):
        ours, *theirs = group
        for rival in theirs:
            ratios.append(
                {
                    "rival": rival.contender,
                    "batch_size": size,
                    "prompt_tokens": length,
                    "decode": round(ours.decode_tokens_per_s / rival.decode_tokens_per_s, 2),
                    "prefill": round(ours.prefill_tokens_per_s / rival.prefill_tokens_per_s, 2),
                }
            )
    return ratios


def captured_over_eager(cells: Sequence[DeviceCell]) -> list[dict[str, Any]]:
    eager = {(cell.batch_size, cell.prompt_tokens): cell for cell in cells if not cell.is_captured}
    return [
        {
            "batch_size": cell.batch_size,
            "prompt_tokens": cell.prompt_tokens,
            "decode": round(
                cell.decode_tokens_per_s / eager[cell.batch_size, cell.prompt_tokens].decode_tokens_per_s, 2
            ),
        }
        for cell in cells
        if cell.is_captured
    ]


def table_of(cells: Sequence[Cell], ceiling: float) -> str:
    fractions = [fraction_of_ceiling(cell.decode_tokens_per_s, cell.batch_size, ceiling) for cell in cells]
    rows = [(cell.contender, *_columns(cell, part)) for cell, part in zip(cells, fractions, strict=True)]
    return table(("contender", *HEADERS), rows)


def device_table(cells: Sequence[DeviceCell]) -> str:
    rows = [
        (cell.expert, "captured" if cell.is_captured else "eager", *_columns(cell, cell.fraction_of_ceiling))
        for cell in cells
    ]
    return table(("expert", "steps", *HEADERS), rows)


def ratio_table(ratios: Sequence[dict[str, Any]]) -> str:
    heads = ("coe over", "batch", "prompt", "decode", "prefill")
    rows = [
        (row["rival"], str(row["batch_size"]), str(row["prompt_tokens"]), f"{row['decode']}x", f"{row['prefill']}x")
        for row in ratios
    ]
    return table(heads, rows)


def _columns(cell: Cell | DeviceCell, fraction: float | None) -> tuple[str, ...]:
    return (
        str(cell.batch_size),
        str(cell.prompt_tokens),
        f"{cell.decode_tokens_per_s:.1f}",
        "-" if fraction is None else f"{fraction:.0%}",
        f"{cell.prefill_tokens_per_s:.0f}",
        f"{cell.first_token_ms:.1f}",
        f"{cell.same_tokens:.0%}",
    )
