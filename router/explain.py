"""Why a prompt goes where it goes: doubt in words, and the training prompts nearest to it.

Owns the explanation and the command `explain`. Of training prompts it shows id, source and licence; the text only of
this project's own, which the package carries anyway: the others' licences differ. Knows nothing about experts.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coe.types import Neighbour
from router.artefact import DEFAULT_FOLDER, Artefact
from router.own import own_prompts
from router.scores import Scores, score

__all__ = ["Explanation", "add_arguments", "doubt", "explain", "neighbours", "run", "with_texts"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Categories by falling probability, nearest training prompts first; `doubt` is empty when there is none."""

    probabilities: tuple[tuple[str, float], ...]
    similarity: float
    doubt: str
    neighbours: tuple[Neighbour, ...]

    def __str__(self) -> str:
        lines = [f"{name:20} {value:.3f}" for name, value in self.probabilities[:5]]
        lines.append(f"abstains: {self.doubt}" if self.doubt else "sure: the category's expert answers")
        return "\n".join(lines + [line_of(neighbour) for neighbour in self.neighbours])


def line_of(neighbour: Neighbour) -> str:
    """Return a neighbour as one line for people."""
    head = f"  {neighbour.cosine:.3f} {neighbour.category:18} {neighbour.id} ({neighbour.source}, {neighbour.license})"
    return head if neighbour.text is None else f"{head}: {' '.join(neighbour.text.split())[:80]}"


def explain(artefact: Artefact, text: str, vector: NDArray[np.float32]) -> Explanation:
    """Return the explanation of one text and its (dims,) vector."""
    scores = score(artefact, vector[None], [text])
    probabilities, similarity = scores.probabilities[0], float(scores.similarity[0])
    ranked = sorted(zip(artefact.categories, probabilities.tolist(), strict=True), key=lambda pair: -pair[1])
    near = with_texts(neighbours(artefact, scores, 0))
    return Explanation(tuple(ranked), similarity, doubt(artefact, ranked[0][1], similarity), near)


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
    """Return neighbours with the text of those that are this project's own."""
    return tuple(replace(one, text=own_texts().get((one.source, one.id))) for one in near)


@cache
def own_texts() -> dict[tuple[str, str], str]:
    """Return this project's own prompts by source and id."""
    return {(prompt.source, prompt.id): prompt.text for prompt in own_prompts()}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `coe router explain`."""
    parser.add_argument("prompt")
    parser.add_argument("--artefact", type=Path, help="a trained router; default: the shipped one")
    parser.add_argument("--device", default="cpu", help="where the encoder runs")


def run(args: argparse.Namespace) -> int:
    """Run `coe router explain`; returns the exit code."""
    from router.train import encoder_for

    artefact = Artefact.load(args.artefact or DEFAULT_FOLDER)
    encoder = encoder_for(artefact.encoder_source, args.device, None)
    artefact.check_encoder(encoder.id)
    print(explain(artefact, args.prompt, encoder.encode([args.prompt])[0]))
    return 0
