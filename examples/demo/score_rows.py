"""The score table of `coe router score`, read for the demo's comparisons.

Owns its file format on this side and what a mean negative log-likelihood is there. Knows nothing about intervals or
routing.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """A test row and each expert's score on it, 0 … 1."""

    id: str
    domain: str
    check: str
    scores: Mapping[str, float]

    def nll(self, expert: str) -> float | None:
        """Mean negative log-likelihood per token of the reference; None where that is not what was measured."""
        return -math.log(self.scores[expert]) if self.check == "loss" else None


def read_score_rows(path: Path) -> list[ScoreRow]:
    """Every row of a table; raises ValueError for one that an expert has no score on."""
    rows = []
    for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
        raw = json.loads(line)
        holes = [expert for expert, score in raw["scores"].items() if score is None]
        if holes:
            raise ValueError(f"{path}: row {raw['id']} has no score of {', '.join(holes)}: score them again")
        rows.append(ScoreRow(raw["id"], raw["category"], raw["check"], raw["scores"]))
    return rows
