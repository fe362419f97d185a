"""Authored prompts: labelled prompts written for this project, one text file per category.

Owns how a file becomes prompts. One prompt a line, "\\n" inside it for a new line. `data/plain_lines` holds prompts as
they are. `data/templates` holds lines with slots: `((one|other))` is a choice, `{{city}}` a line of
`data/slot_values/city.txt`; each such line is filled several times, each time differently. Deterministic. Knows nothing
about public data or training.
"""

from __future__ import annotations

import random
import re
from functools import cache
from pathlib import Path

from router.training.prompts import Prompt

__all__ = ["PLAIN_FAMILY", "TEMPLATE_FAMILY", "authored_prompts"]

DATA = Path(__file__).parents[1] / "data"
TEMPLATES = DATA / "templates"
PLAIN_LINES = DATA / "plain_lines"
SLOT_VALUES = DATA / "slot_values"
TEMPLATE_FAMILY = "coe own"  # names and ids that trained artefacts record, the shipped one among them
PLAIN_FAMILY = "coe written"
LICENSE = "Apache-2.0"
NUM_PER_CATEGORY = 600  # about so many prompts per file of templates
MAX_FILLINGS = 16
CHOICE = re.compile(r"\(\((.*?)\)\)")
SLOT = re.compile(r"\{\{(\w+)\}\}")


def authored_prompts() -> tuple[Prompt, ...]:
    """Return the authored prompts, filled templates first, in the order of files and lines.

    Raises:
        FileNotFoundError: a folder of prompts is missing or empty, as in a package that was built without its data.
    """
    filled = [prompt for file in text_files(TEMPLATES) for prompt in filled_templates(file)]
    plain = [prompt for file in text_files(PLAIN_LINES) for prompt in plain_prompts(file)]
    return (*filled, *plain)


def text_files(folder: Path) -> list[Path]:
    """Return the folder's text files in order; raises FileNotFoundError where there is none."""
    files = sorted(folder.glob("*.txt"))
    if not files:
        raise FileNotFoundError(f"{folder} has no *.txt file: the installed package lacks its prompts; install it anew")
    return files


def plain_prompts(file: Path) -> list[Prompt]:
    """Return the prompts of a file without slots, whose name is their category."""
    lines = [line.replace("\\n", "\n") for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [authored(text, file.stem, number, PLAIN_FAMILY) for number, text in enumerate(lines, 1)]


def filled_templates(file: Path) -> list[Prompt]:
    """Return the prompts of a file of templates, whose name is their category; no text twice."""
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    num_open = sum(has_slots(line) for line in lines)
    wanted = (NUM_PER_CATEGORY - len(lines) + num_open) // max(1, num_open)
    num_fillings = min(MAX_FILLINGS, max(3, wanted))
    texts = [text for line in lines for text in fillings(line, num_fillings)]
    return [authored(text, file.stem, number, TEMPLATE_FAMILY) for number, text in enumerate(dict.fromkeys(texts), 1)]


def has_slots(line: str) -> bool:
    """Return whether the line can be filled in more than one way."""
    return bool(CHOICE.search(line) or SLOT.search(line))


def fillings(line: str, num_fillings: int) -> list[str]:
    """Return a line's prompts; the line itself seeds the choices."""
    rng = random.Random(line)
    return [fill(line, rng) for _ in range(num_fillings if has_slots(line) else 1)]


def fill(line: str, rng: random.Random) -> str:
    """Return the line with every slot filled; no value is used twice in one prompt while others are left."""
    used: set[str] = set()

    def value(match: re.Match[str]) -> str:
        options = slot_values(match.group(1))
        chosen = rng.choice([option for option in options if option not in used] or list(options))
        used.add(chosen)
        return chosen

    chosen = CHOICE.sub(lambda match: rng.choice(match.group(1).split("|")), line)
    return SLOT.sub(value, chosen).replace("\\n", "\n")


@cache
def slot_values(name: str) -> tuple[str, ...]:
    """Return the values that a slot of this name can take."""
    return tuple((SLOT_VALUES / f"{name}.txt").read_text(encoding="utf-8").splitlines())


def authored(text: str, category: str, number: int, family: str) -> Prompt:
    prompt_id = f"{family.removeprefix('coe ')}-{category}-{number:04}"
    return Prompt(text, category, prompt_id, family, family, LICENSE, may_be_shown=True)
