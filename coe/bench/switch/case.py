"""One row of `coe bench switch`: what was timed in a tier, and how near it comes to its limit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from coe.bench.report import median, p95

__all__ = ["Case"]


@dataclass(slots=True)
class Case:
    """One row: a tier, what was timed in it, and the limit it runs into."""

    name: str
    ceiling_bytes_per_s: float | None = None
    ready_s: list[float] = field(default_factory=list)
    first_token_s: list[float] = field(default_factory=list)
    num_bytes: list[int] = field(default_factory=list)

    def figures(self, prefill_s: float) -> dict[str, Any]:
        """Medians; `prefill_s` is what the first token of a resident expert takes."""
        ready_s, size = median(self.ready_s or [0.0]), median(self.num_bytes or [0])
        first_s = median(self.first_token_s)
        speed = size / ready_s if size and ready_s else None
        hidden = (ready_s + prefill_s - first_s) / min(ready_s, prefill_s) if speed else None
        return {
            "case": self.name,
            "ready_ms_p50": round(ready_s * 1e3, 3),
            "ready_ms_p95": round(p95(self.ready_s or [0.0]) * 1e3, 3),
            "first_token_ms_p50": round(first_s * 1e3, 3),
            "first_token_ms_p95": round(p95(self.first_token_s) * 1e3, 3),
            "bytes": int(size),
            "bytes_per_s": speed and round(speed),
            "fraction_of_ceiling": round(speed / self.ceiling_bytes_per_s, 3)
            if speed and self.ceiling_bytes_per_s
            else None,
            "hidden_share": None if hidden is None else round(max(0.0, min(1.0, hidden)), 3),
            "num_runs": len(self.first_token_s),
        }
