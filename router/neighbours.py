"""What a decision shows of its making: doubt in words, and the training prompts nearest to the prompt.

Of training prompts it shows id, source and licence; the text only of authored prompts, which the package carries
anyway: the others' licences differ. Knows nothing about experts.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from coe.types import Neighbour
from router.model.artefact import Artefact
from router.model.scores import Scores
from router.training.authored import authored_prompts

__all__ = ["doubt", "neighbours", "with_texts"]


def doubt(artefact: Artefact, confidence: float, similarity: float) -> str:
    """Return why the general expert answers, "" if it does not have to."""
    rule = artefact.abstain
    if not confidence >= rule.min_confidence:
        return f"confidence {confidence:.3f} is below {rule.min_confidence:.3f}"
    if not similarity >= rule.min_similarity:
        return f"similarity {similarity:.3f} to the training prompts is below {rule.min_similarity:.3f}"
    return ""


def neighbours(artefact: Artefact, scores: Scores, row: int) -> tuple[Neighbour, ...]:
    """Return the training prompts nearest to the text in a row of the scores, without their texts."""
    nearest = zip(scores.nearest.rows[row].tolist(), scores.nearest.cosines[row].tolist(), strict=True)
    return tuple(neighbour(artefact, exemplar, cosine) for exemplar, cosine in nearest)


def neighbour(artefact: Artefact, row: int, cosine: float) -> Neighbour:
    exemplar = artefact.exemplar_rows[row]
    of_source: Any = artefact.data.get(exemplar.source)
    license_name = str(of_source.get("license", "")) if isinstance(of_source, dict) else ""
    return Neighbour(exemplar.id, exemplar.source, exemplar.category, license_name or "licence unknown", cosine)


def with_texts(near: tuple[Neighbour, ...]) -> tuple[Neighbour, ...]:
    """Return neighbours with the text of those that are authored prompts."""
    return tuple(replace(one, text=authored_texts().get((one.source, one.id))) for one in near)


@cache
def authored_texts() -> dict[tuple[str, str], str]:
    """Return the texts of authored prompts by source and id."""
    return {(prompt.source, prompt.id): prompt.text for prompt in authored_prompts()}
