"""Authored prompts: labelled prompts written for this project.

Owns how a file becomes prompts. One prompt a line, "\\n" inside it for a new line. `data/plain_lines` has a file per
category, prompts as they are. `data/templates` has the same with slots: `((one|other))` is a choice, `{{city}}` a line
of `data/slot_values/city.txt`; each such line is filled several times, each time differently. `data/languages` has a
file per language, with a section `=== category ===` for each. Deterministic. Knows nothing about public data or
training.
"""

from __future__ import annotations

import random
import re
from functools import cache
from pathlib import Path

from router.labelled.prompts import Prompt

__all__ = [
    "CONTEXT_FAMILY",
    "DATA",
    "LANGUAGES",
    "PLAIN_FAMILY",
    "TEMPLATE_FAMILY",
    "authored",
    "authored_families",
    "authored_prompts",
    "language_family",
    "lines_of",
    "sections_of",
    "text_files",
]

DATA = Path(__file__).parents[1] / "data"
TEMPLATES = DATA / "templates"
PLAIN_LINES = DATA / "plain_lines"
SLOT_VALUES = DATA / "slot_values"
LANGUAGES = DATA / "languages"
TEMPLATE_FAMILY = "coe own"  # names and ids that trained artefacts record, the shipped one among them
PLAIN_FAMILY = "coe written"
CONTEXT_FAMILY = "coe context"  # prompts in wrappers and under system turns
LICENSE = "Apache-2.0"
NUM_PER_CATEGORY = 600  # about so many prompts per file of templates
MAX_FILLINGS = 16
TURNS = ("follow-ups", "short new topics", "system turns", "wrapped")  # sections whose lines are no plain prompts
SECTION = re.compile(r"=== (.+) ===")
CHOICE = re.compile(r"\(\((.*?)\)\)")
SLOT = re.compile(r"\{\{(\w+)\}\}")


def authored_prompts() -> tuple[Prompt, ...]:
    """Return the authored prompts: filled templates, plain lines, those by language; in the order of files and lines.

    Raises:
        FileNotFoundError: a folder of prompts is missing or empty, as in a package that was built without its data.
    """
    filled = [prompt for file in text_files(TEMPLATES) for prompt in filled_templates(file)]
    plain = [prompt for file in text_files(PLAIN_LINES) for prompt in plain_prompts(file)]
    spoken = [prompt for file in text_files(LANGUAGES) for prompt in prompts_by_language(file)]
    return (*filled, *plain, *spoken)


def authored_families() -> tuple[str, ...]:
    """Return the families of all authored prompts."""
    return (
        TEMPLATE_FAMILY,
        PLAIN_FAMILY,
        CONTEXT_FAMILY,
        *(language_family(file.stem) for file in text_files(LANGUAGES)),
    )


def language_family(language: str) -> str:
    """Return the family of the prompts that are written in a language, by its ISO 639-1 code."""
    return f"coe {language}"


def text_files(folder: Path) -> list[Path]:
    """Return the folder's text files in order; raises FileNotFoundError where there is none."""
    files = sorted(folder.glob("*.txt"))
    if not files:
        raise FileNotFoundError(f"{folder} has no *.txt file: the installed package lacks its prompts; install it anew")
    return files


def plain_prompts(file: Path) -> list[Prompt]:
    """Return the prompts of a file without slots, whose name is their category."""
    return [authored(text, file.stem, number, PLAIN_FAMILY) for number, text in enumerate(lines_of(file), 1)]


def prompts_by_language(file: Path) -> list[Prompt]:
    """Return the prompts of a file whose name is their language, and whose sections but `TURNS` are categories."""
    family = language_family(file.stem)
    sections = {name: lines for name, lines in sections_of(file).items() if name not in TURNS}
    return [
        authored(text, category, number, family)
        for category, lines in sections.items()
        for number, text in enumerate(lines, 1)
    ]


def lines_of(file: Path) -> list[str]:
    """Return the lines that are not blank, "\\n" in them made new lines."""
    return [line.replace("\\n", "\n") for line in file.read_text(encoding="utf-8").split("\n") if line.strip()]


def sections_of(file: Path) -> dict[str, list[str]]:
    """Return the lines under each `=== name ===`.

    Raises:
        ValueError: a line before the first section.
    """
    sections: dict[str, list[str]] = {}
    lines: list[str] | None = None
    for line in lines_of(file):
        if match := SECTION.fullmatch(line.strip()):
            lines = sections.setdefault(match.group(1), [])
        elif lines is None:
            raise ValueError(f"{file.name}: '{line[:40]}' stands before the first section")
        else:
            lines.append(line)
    return sections


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
