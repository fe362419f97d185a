"""The preference for resident experts: among near-equals, the one that needs no load answers.

Near-equal means: the expected score of the category is at most `epsilon` below that of the mapped expert. The mapped
expert is the measure, because a mapping learned under a budget need not name the best one; and no expert with more
active parameters than it is ever preferred, so a budget on them holds whatever is resident. Pure. Knows nothing about
prompts or files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from coe.types import CostTerm, Snapshot
from router.mapping import MappingFile

__all__ = ["ResidencyPreference"]

ROUNDING = 1e-9  # 0.80 - 0.02 is not quite 0.78


@dataclass(frozen=True, slots=True)
class ResidencyPreference:
    """`epsilon` is a difference of expected scores; 0 turns the preference off. `learned` has the scores."""

    epsilon: float = 0.0
    learned: MappingFile = field(default_factory=MappingFile)

    def __post_init__(self) -> None:
        if not 0.0 <= self.epsilon <= 1.0:
            raise ValueError(f"residency_epsilon {self.epsilon}: must lie in 0 to 1; 0 turns it off")

    def check(self, mapping: Mapping[str, str], general: str) -> None:
        """Raises ValueError if it is on and a mapped expert has no expected score.

        The general expert needs none: a category that was never scored and falls to it has no near-equals.
        """
        for category, expert in mapping.items() if self.epsilon else ():
            if expert != general and expert not in self.learned.expected_scores.get(category, {}):
                raise ValueError(
                    f"residency_epsilon {self.epsilon:g} needs the expected score of '{expert}' on '{category}', and "
                    "there is none; name a mapping file that has it (`coe router map --json`), or write 0"
                )

    def choose(self, category: str, mapped: str, snapshot: Snapshot) -> CostTerm | None:
        """Return the chosen expert and what was weighed; None where the preference is off or has no scores."""
        scores = self.learned.expected_scores.get(category, {})
        if not self.epsilon or mapped not in scores:
            return None
        chosen = mapped if is_resident(mapped, snapshot) else self._resident_near_equal(scores, mapped, snapshot)
        missing = snapshot.missing_bytes.get(mapped)
        return CostTerm(self.epsilon, mapped, scores[mapped], chosen, scores[chosen], missing)

    def _resident_near_equal(self, scores: Mapping[str, float], mapped: str, snapshot: Snapshot) -> str:
        least, active = scores[mapped] - self.epsilon - ROUNDING, self.learned.active_b
        near = [
            name
            for name, value in scores.items()
            if value >= least and active.get(name, 0.0) <= active.get(mapped, math.inf) and is_resident(name, snapshot)
        ]
        return min(near, key=lambda name: (-scores[name], name), default=mapped)


def is_resident(expert: str, snapshot: Snapshot) -> bool:
    """Return whether the expert could run without a load."""
    return snapshot.missing_bytes.get(expert) == 0 and expert not in snapshot.broken
