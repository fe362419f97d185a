"""Why a prompt goes where it goes: probabilities, doubt, and the training prompts nearest to it.

Owns the explanation and the command `explain`. Shows ids and sources of training prompts, never their text: licences
differ. Knows nothing about experts beyond the router's decision.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from router.artefact import DEFAULT_FOLDER, Artefact, Exemplar
from router.scores import score
from router.train import encoder_for

__all__ = ["Explanation", "Neighbour", "add_arguments", "explain", "run"]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A training prompt and its cosine to the prompt."""

    exemplar: Exemplar
    cosine: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Categories by falling probability, nearest training prompts first; `doubt` is empty when there is none."""

    probabilities: tuple[tuple[str, float], ...]
    similarity: float
    doubt: str
    neighbours: tuple[Neighbour, ...]

    def __str__(self) -> str:
        lines = [f"{name:20} {value:.3f}" for name, value in self.probabilities[:5]]
        lines.append(self.doubt or "sure: the category's expert answers")
        near = [(n.cosine, n.exemplar) for n in self.neighbours]
        lines += [f"  {cosine:.3f} {row.category:18} {row.id} ({row.source})" for cosine, row in near]
        return "\n".join(lines)


def explain(artefact: Artefact, text: str, vector: NDArray[np.float32], num_neighbours: int = 5) -> Explanation:
    """Return the explanation of one text and its (dims,) vector."""
    scores = score(artefact, vector[None], [text])
    probabilities, similarity = scores.probabilities[0], float(scores.similarity[0])
    cosines = artefact.exemplars @ vector[: artefact.exemplars.shape[1]]
    nearest = np.argsort(-cosines, kind="stable")[:num_neighbours]
    ranked = sorted(zip(artefact.categories, probabilities.tolist(), strict=True), key=lambda pair: -pair[1])
    return Explanation(
        tuple(ranked),
        similarity,
        doubt(artefact, ranked[0][1], similarity),
        tuple(Neighbour(artefact.exemplar_rows[row], float(cosines[row])) for row in nearest),
    )


def doubt(artefact: Artefact, confidence: float, similarity: float) -> str:
    """Return why the general expert answers, "" if it does not have to."""
    rule = artefact.abstain
    if not confidence >= rule.min_confidence:
        return f"abstains: confidence {confidence:.3f} is below {rule.min_confidence:.3f}"
    if not similarity >= rule.min_similarity:
        return f"abstains: similarity {similarity:.3f} to the training prompts is below {rule.min_similarity:.3f}"
    return ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `coe router explain`."""
    parser.add_argument("prompt")
    parser.add_argument("--artefact", type=Path, help="a trained router; default: the shipped one")
    parser.add_argument("--device", default="cpu", help="where the encoder runs")


def run(args: argparse.Namespace) -> int:
    """Run `coe router explain`; returns the exit code."""
    artefact = Artefact.load(args.artefact or DEFAULT_FOLDER)
    encoder = encoder_for(artefact.encoder_source, args.device, None)
    artefact.check_encoder(encoder.id)
    print(explain(artefact, args.prompt, encoder.encode([args.prompt])[0]))
    return 0
