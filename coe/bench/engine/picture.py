"""The picture of `coe bench engine`: decode and prefill speeds of every contender over batch sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coe.bench.engine.cells import Cell

__all__ = ["paint"]


def paint(cells: Sequence[Cell], ceiling: float, figure: Any) -> None:
    """Draw a column per prompt length; `ceiling` is batch 1's, in tokens per second."""
    lengths = list(dict.fromkeys(cell.prompt_tokens for cell in cells))
    names = list(dict.fromkeys(cell.contender for cell in cells))
    figure.set_size_inches(4.2 * len(lengths), 7)
    axes = figure.subplots(2, len(lengths), sharex=True, squeeze=False)
    for column, length in enumerate(lengths):
        decode, prefill = axes[0][column], axes[1][column]
        for name in names:
            own = [cell for cell in cells if cell.contender == name and cell.prompt_tokens == length]
            sizes = [cell.batch_size for cell in own]
            decode.plot(sizes, [cell.decode_tokens_per_s for cell in own], marker="o", label=name)
            prefill.plot(sizes, [cell.prefill_tokens_per_s for cell in own], marker="o", label=name)
        decode.axhline(ceiling, color="grey", linestyle=":", label="memory ceiling of batch 1")
        decode.set_title(f"prompt {length}")
        for axis in (decode, prefill):
            axis.set_xscale("log", base=2)
            axis.set_yscale("log")
            axis.grid(alpha=0.3)
        prefill.set_xlabel("batch size")
    axes[0][0].set_ylabel("decode tokens/s")
    axes[1][0].set_ylabel("prefill tokens/s")
    axes[0][0].legend(fontsize=8)
