"""The prompts that were written for this project: one text file per category.

Owns how a file becomes labelled prompts. One prompt a line, "\\n" inside it for a new line. Lines in `data/written` are
taken as they are; in `data/own`, `((one|other))` is a choice and `{{city}}` a line of `data/parts/city.txt`, and a line
with slots is filled several times, each time differently. Deterministic. Knows nothing about public data or training.
"""

from __future__ import annotations

import random
import re
from functools import cache
from pathlib import Path

from router.training.prompts import Prompt

__all__ = ["FAMILY", "OWN_FOLDER", "own_prompts"]

OWN_FOLDER = Path(__file__).parents[1] / "data" / "own"
WRITTEN_FOLDER = Path(__file__).parents[1] / "data" / "written"
PARTS_FOLDER = Path(__file__).parents[1] / "data" / "parts"
FAMILY = "coe own"
WRITTEN_FAMILY = "coe written"
LICENSE = "Apache-2.0"
NUM_PER_CATEGORY = 600  # about so many prompts per file
MAX_FILLINGS = 16
CHOICE = re.compile(r"\(\((.*?)\)\)")
PART = re.compile(r"\{\{(\w+)\}\}")


def own_prompts() -> tuple[Prompt, ...]:
    """Return the project's own prompts, in the order of files and lines.

    Raises:
        FileNotFoundError: a folder of prompts is missing or empty, as in a package that was built without its data.
    """
    filled = [prompt for file in text_files(OWN_FOLDER) for prompt in filled_from(file)]
    written = [prompt for file in text_files(WRITTEN_FOLDER) for prompt in written_in(file)]
    return (*filled, *written)


def text_files(folder: Path) -> list[Path]:
    """Return the folder's text files in order; raises FileNotFoundError where there is none."""
    files = sorted(folder.glob("*.txt"))
    if not files:
        raise FileNotFoundError(f"{folder} has no *.txt file: the installed package lacks its prompts; install it anew")
    return files


def written_in(file: Path) -> list[Prompt]:
    """Return the prompts of a file without slots, whose name is their category."""
    lines = [line.replace("\\n", "\n") for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [own(text, file.stem, number, WRITTEN_FAMILY) for number, text in enumerate(lines, 1)]


def filled_from(file: Path) -> list[Prompt]:
    """Return the prompts of a file with slots, whose name is their category; no text twice."""
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    num_open = sum(has_slots(line) for line in lines)
    wanted = (NUM_PER_CATEGORY - len(lines) + num_open) // max(1, num_open)
    num_fillings = min(MAX_FILLINGS, max(3, wanted))
    texts = [text for line in lines for text in fillings(line, num_fillings)]
    return [own(text, file.stem, number, FAMILY) for number, text in enumerate(dict.fromkeys(texts), 1)]


def has_slots(line: str) -> bool:
    """True if the line can be filled in more than one way."""
    return bool(CHOICE.search(line) or PART.search(line))


def fillings(line: str, num_fillings: int) -> list[str]:
    """Return a line's prompts; the line itself seeds the choices."""
    rng = random.Random(line)
    return [fill(line, rng) for _ in range(num_fillings if has_slots(line) else 1)]


def fill(line: str, rng: random.Random) -> str:
    """Return the line with every slot filled; a part is not used twice in one prompt while others are left."""
    used: set[str] = set()

    def part(match: re.Match[str]) -> str:
        options = parts(match.group(1))
        chosen = rng.choice([option for option in options if option not in used] or list(options))
        used.add(chosen)
        return chosen

    chosen = CHOICE.sub(lambda match: rng.choice(match.group(1).split("|")), line)
    return PART.sub(part, chosen).replace("\\n", "\n")


@cache
def parts(name: str) -> tuple[str, ...]:
    """Return the lines of a part file."""
    return tuple((PARTS_FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines())


def own(text: str, category: str, number: int, family: str) -> Prompt:
    return Prompt(text, category, f"{family.removeprefix('coe ')}-{category}-{number:04}", family, family, LICENSE)
