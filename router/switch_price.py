"""The price of a switch: an expert is worth its expected score less what the seconds until it is ready cost.

Owns the rule by which a better expert is loaded only when its gain in expected score exceeds the price of its load. The
mapped expert is the measure: no expert with more active parameters than it is ever taken, so a budget on them holds
whatever is resident. Pure. Knows nothing about prompts, files or how seconds are measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from coe.types import CostTerm, Snapshot
from router.mapping import MappingFile

__all__ = ["SwitchPrice"]

TIE = 1e-9  # 0.80 - 0.02 is not quite 0.78


@dataclass(frozen=True, slots=True)
class SwitchPrice:
    """`score_per_second` is the expected score that a second of loading is worth; 0 turns the rule off.

    `learned` has the expected scores. A load that is not paid for by the gain of one prompt is left out, although later
    prompts would profit from it, too: the rule looks at one decision.
    """

    score_per_second: float = 0.0
    learned: MappingFile = field(default_factory=MappingFile)

    def __post_init__(self) -> None:
        if not 0.0 <= self.score_per_second < math.inf:
            raise ValueError(f"score_per_second {self.score_per_second}: must be 0, which turns it off, or above")

    def check(self, mapping: Mapping[str, str], general: str) -> None:
        """Raises ValueError if it is on and a mapped expert has no expected score.

        The general expert needs none: a category that was never scored and falls to it has nothing to compare.
        """
        for category, expert in mapping.items() if self.score_per_second else ():
            if expert != general and expert not in self.learned.expected_scores.get(category, {}):
                raise ValueError(
                    f"score_per_second {self.score_per_second:g} needs the expected score of '{expert}' on "
                    f"'{category}', and there is none; name a mapping file that has it (`coe router map --json`), or "
                    "write 0"
                )

    def weigh(self, probabilities: Mapping[str, float], mapped: str, snapshot: Snapshot) -> CostTerm | None:
        """Return the expert that is worth most and what was weighed; of equals the mapped one.

        `probabilities` are those of the categories. None where the rule is off, the likeliest category has no expected
        scores, or it is not known how long loading the mapped expert takes.
        """
        likeliest = max(probabilities, key=lambda category: probabilities[category])
        if not self.score_per_second or mapped not in self.learned.expected_scores.get(likeliest, {}):
            return None
        if mapped not in snapshot.load_s or mapped in snapshot.broken:
            return None
        allowed = [name for name in self._no_larger(likeliest, mapped) if is_able(name, snapshot)]
        expected = self._expected(probabilities, (mapped, *allowed))
        worth = {name: score - self.score_per_second * snapshot.load_s[name] for name, score in expected.items()}
        least = max(worth.values()) - TIE
        best = [name for name in worth if worth[name] >= least]
        chosen = mapped if mapped in best else min(best, key=lambda name: (snapshot.load_s[name], name))
        return CostTerm(
            score_per_second=self.score_per_second,
            mapped=mapped,
            mapped_score=expected[mapped],
            mapped_load_s=snapshot.load_s[mapped],
            chosen=chosen,
            chosen_score=expected[chosen],
            chosen_load_s=snapshot.load_s[chosen],
        )

    def _no_larger(self, category: str, mapped: str) -> list[str]:
        """Return the scored experts that have no more active parameters than the mapped one."""
        active = self.learned.active_b
        most = active.get(mapped, math.inf)
        return [name for name in self.learned.expected_scores[category] if active.get(name, 0.0) <= most]

    def _expected(self, probabilities: Mapping[str, float], experts: Iterable[str]) -> dict[str, float]:
        """Return each expert's expected score, over the categories that have scores."""
        scores = self.learned.expected_scores
        scored = {category: chance for category, chance in probabilities.items() if category in scores}
        total = sum(scored.values())
        return {
            expert: sum(chance * scores[category][expert] for category, chance in scored.items()) / total
            for expert in experts
        }


def is_able(expert: str, snapshot: Snapshot) -> bool:
    """Return whether the expert may be asked, and it is known how long a load would take."""
    return expert in snapshot.load_s and expert not in snapshot.broken
