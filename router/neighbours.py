"""The training prompts nearest to a prompt, as a decision shows them.

Of every one it shows id, source, category and licence. Texts are added on request, of those exemplars whose text the
artefact holds: a decision whose reader did not ask pays nothing for them. Knows nothing about experts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from coe.types import Neighbour
from router.model.artefact import Artefact
from router.model.scores import Scores

__all__ = ["neighbours", "with_texts"]


def neighbours(artefact: Artefact, scores: Scores, row: int) -> tuple[Neighbour, ...]:
    """Return the training prompts nearest to the text in a row of the scores, nearest first, without their texts."""
    nearest = zip(scores.nearest.rows[row].tolist(), scores.nearest.cosines[row].tolist(), strict=True)
    return tuple(neighbour(artefact, exemplar, cosine) for exemplar, cosine in nearest)


def neighbour(artefact: Artefact, row: int, cosine: float) -> Neighbour:
    exemplar = artefact.exemplars[row]
    of_source: Any = artefact.data.get(exemplar.source)
    license_name = str(of_source.get("license", "")) if isinstance(of_source, dict) else ""
    return Neighbour(exemplar.id, exemplar.source, exemplar.category, license_name or "licence unknown", cosine)


def with_texts(artefact: Artefact, near: Iterable[Neighbour]) -> tuple[Neighbour, ...]:
    """Return neighbours with the texts that the artefact holds."""
    texts = {(exemplar.source, exemplar.id): exemplar.text for exemplar in artefact.exemplars if exemplar.text}
    return tuple(replace(each, text=texts.get((each.source, each.id))) for each in near)
