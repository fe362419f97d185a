"""The command `explain`: a trained router on one prompt, without experts.

Owns the explanation for people: probabilities, doubt, nearest training prompts. Knows nothing about experts.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coe.types import Neighbour
from router.encoding.cached_encoder import load_encoder
from router.model.artefact import Artefact, load_artefact
from router.model.scores import score
from router.neighbours import neighbours, with_texts

__all__ = ["Explanation", "add_arguments", "explain", "run"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Categories by falling probability, training prompts nearest first; `doubt` is "" where the router is sure."""

    probabilities: tuple[tuple[str, float], ...]
    confidence: float
    doubt: str
    neighbours: tuple[Neighbour, ...]

    def __str__(self) -> str:
        lines = [f"{name:20} {value:.3f}" for name, value in self.probabilities[:5]]
        lines.append(f"abstains: {self.doubt}" if self.doubt else "sure: the category's expert answers")
        return "\n".join(lines + [line_of(neighbour) for neighbour in self.neighbours])


def line_of(neighbour: Neighbour) -> str:
    """Return a neighbour as one line for people."""
    line = f"  {neighbour.cosine:.3f} {neighbour.category:18} {neighbour.id} ({neighbour.source}, {neighbour.license})"
    return line if neighbour.text is None else f"{line}: {' '.join(neighbour.text.split())[:80]}"


def explain(artefact: Artefact, text: str, vector: NDArray[np.float32]) -> Explanation:
    """Return the explanation of one text and its (dims,) vector."""
    scores = score(artefact, vector[None], [text])
    probabilities, confidence = scores.probabilities[0], float(scores.confidence[0])
    ranked = sorted(zip(artefact.categories, probabilities.tolist(), strict=True), key=lambda pair: -pair[1])
    near = with_texts(artefact, neighbours(artefact, scores, 0))
    return Explanation(tuple(ranked), confidence, artefact.abstain.doubt(confidence), near)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `coe router explain`."""
    parser.add_argument("prompt")
    parser.add_argument("--artefact", type=Path, help="a trained router; default: the shipped one")
    parser.add_argument("--device", default="cpu", help="where the encoder runs")


def run(args: argparse.Namespace) -> int:
    """Run `coe router explain`; returns the exit code."""
    artefact = load_artefact(args.artefact)
    encoder = load_encoder(artefact.encoder_source, args.device)
    artefact.check_encoder(encoder.id)
    print(explain(artefact, args.prompt, encoder.encode([args.prompt])[0]))
    return 0
