"""The picture of `coe bench switch`: seconds to weights and to the first token, case by case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["paint"]


def paint(rows: Sequence[dict[str, Any]], figure: Any) -> None:
    names = [row["case"] for row in rows][::-1]
    figure.set_size_inches(8, 0.5 * len(rows) + 1.2)
    axes = figure.subplots()
    axes.barh(names, [row["first_token_ms_p50"] for row in rows][::-1], color="#9ec5e8", label="first token")
    axes.barh(names, [row["ready_ms_p50"] for row in rows][::-1], color="#1f5f99", height=0.4, label="weights usable")
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds, median (log scale)")
    axes.legend(loc="lower right")
