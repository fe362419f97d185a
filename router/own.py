"""The prompts that were written for this project: one text file per category, and parts that are combined.

Owns how the files become labelled prompts: one prompt a line, "\\n" inside it for a new line. Deterministic. Knows
nothing about public data or training.
"""

from __future__ import annotations

from pathlib import Path

from router.prompts import Prompt

__all__ = ["FAMILY", "OWN_FOLDER", "own_prompts"]

OWN_FOLDER = Path(__file__).parent / "data" / "own"
FAMILY = "coe own"
LICENSE = "Apache-2.0"


def own_prompts() -> tuple[Prompt, ...]:
    """Return the project's own prompts, in the order of files and lines."""
    return tuple(prompt for file in sorted(OWN_FOLDER.glob("*.txt")) for prompt in written_in(file))


def written_in(file: Path) -> list[Prompt]:
    """Return the prompts of one file, whose name is their category."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return [own(line.replace("\\n", "\n"), file.stem, number) for number, line in enumerate(lines, 1) if line.strip()]


def own(text: str, category: str, number: int) -> Prompt:
    return Prompt(text, category, f"own-{category}-{number:04}", FAMILY, FAMILY, LICENSE)
