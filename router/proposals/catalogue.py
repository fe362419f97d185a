"""The catalogue: the experts that there are, and what each says of itself.

Owns the forms that it comes in: a coe.toml, rows of {name, description, source, tags}, or a folder of model folders.
Where a source is a local folder its model card counts, too. A card that cannot be read is told and passed over. Reads
of coe.toml what it needs and checks nothing else in it. Knows nothing about prompts.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router.labelled.rows import SUFFIXES, RawRow, read_rows
from router.proposals.cards import CARD_FILE, Card, read_card

__all__ = ["Catalogue", "Entry", "read_catalogue"]

GENERAL = "general"
CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
NO_CARD = Card((), "")
FORMS = (
    f"a catalogue is a coe.toml, a .json list or {', '.join(SUFFIXES)} of {{name, description}}, or a folder of folders"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One expert. `description` is what its owner wrote, "" for nothing; `card` is its model card."""

    name: str
    description: str = ""
    source: str = ""
    tags: tuple[str, ...] = ()
    card: Card = NO_CARD

    @property
    def sentence(self) -> str:
        """What the expert is about: its description, else its card, else its tags, else its name."""
        tags = ", ".join(self.tags or self.card.tags)
        told = " ".join((self.description or self.card.paragraph).split())
        if self.description:
            return told
        return " ".join(part for part in (told, tags) if part) or as_words(self.name)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Experts by name; `general` answers what no other is about. `notes` say what could not be read."""

    entries: tuple[Entry, ...]
    general: str = GENERAL
    notes: tuple[str, ...] = ()

    @property
    def candidates(self) -> tuple[Entry, ...]:
        """The experts that a category may go to for what it is about: all but the general one."""
        return tuple(entry for entry in self.entries if entry.name != self.general)


def read_catalogue(path: Path) -> Catalogue:
    """Return the catalogue at a path.

    Raises:
        FileNotFoundError: no such file or folder.
        ValueError: another form, a damaged file, an entry without a name, one name twice, no expert to choose.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; {FORMS}")
    notes: list[str] = []
    general, rows = GENERAL, []
    if path.is_dir():
        rows = [{"name": folder.name, "source": str(folder)} for folder in model_folders(path)]
    elif path.suffix == ".toml":
        general, rows = of_toml(path)
    elif path.suffix == ".json":
        rows = [checked_row(row, f"{path.name}:{number}") for number, row in enumerate(listed(path), 1)]
    else:
        rows = [checked_row(row.value, row.where) for row in read_rows(path, [["name"]])]
    entries = [entry_of(row, path.parent, notes) for row in rows]
    found = Catalogue(tuple(entries), general, tuple(notes))
    return checked(found, path)


def as_words(name: str) -> str:
    """Return a name as words: of red_wine, red-wine and RedWine."""
    return CAMEL.sub(" ", name).replace("_", " ").replace("-", " ")


def checked(found: Catalogue, path: Path) -> Catalogue:
    """Return the catalogue; raises ValueError for one that nothing can be chosen from."""
    counts = Counter(entry.name for entry in found.entries)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise ValueError(f"{path}: expert '{twice[0]}' stands there twice; give each a name of its own")
    if not found.candidates:
        names = ", ".join(counts) or "none"
        raise ValueError(f"{path}: experts are {names}; one or more beside '{found.general}' are needed; {FORMS}")
    return found


def model_folders(path: Path) -> list[Path]:
    return sorted(folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith("."))


def of_toml(path: Path) -> tuple[str, list[dict[str, Any]]]:
    """Return the general expert's name and a row for each expert."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # UnicodeDecodeError and TOMLDecodeError are ones
        raise ValueError(f"{path}: not TOML ({error})") from error
    experts, router = tables.get("experts"), tables.get("router")
    if not isinstance(experts, dict):
        raise ValueError(f"{path}: no [experts] there; {FORMS}")
    general = router.get("general", GENERAL) if isinstance(router, dict) else GENERAL
    rows = [
        {**(value if isinstance(value, dict) else {"source": value}), "name": key} for key, value in experts.items()
    ]
    return str(general), rows


def listed(path: Path) -> Iterator[object]:
    """Yield the entries of a JSON list or object; raises ValueError for any other file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON ({error})") from error
    if isinstance(found, dict) and found:  # the file of `coe router train --descriptions`
        found = [{"name": name, "description": sentence} for name, sentence in found.items()]
    if not isinstance(found, list):
        raise ValueError(f"{path}: write a list of {{name, description}}, or an object of name: description")
    yield from found


def checked_row(row: object, where: str) -> dict[str, Any]:
    """Return a row that has a name; raises ValueError for any other."""
    if isinstance(row, RawRow | ValueError) or not isinstance(row, dict):
        raise ValueError(f"{where}: {row if isinstance(row, ValueError) else 'not an object'}")
    if not isinstance(row.get("name"), str) or not row["name"].strip():
        raise ValueError(f"{where}: name is {row.get('name')!r:.60}; give the expert's name as a text")
    return row


def entry_of(row: Mapping[str, Any], folder: Path, notes: list[str]) -> Entry:
    """Return the entry of a row; what cannot be read of its card is added to the notes."""
    name, source = row["name"].strip(), text_in(row, "source", row["name"])
    tags = row.get("tags") or ()
    words = tags.split(",") if isinstance(tags, str) else [tag for tag in tags if isinstance(tag, str)]
    try:
        card = card_at(source, folder)
    except (ValueError, OSError) as error:
        notes.append(f"card of '{name}' passed over: {error}")
        card = NO_CARD
    trimmed = tuple(word.strip() for word in words if word.strip())
    return Entry(name, text_in(row, "description", name).strip(), source, trimmed, card)


def text_in(row: Mapping[str, Any], key: str, name: str) -> str:
    value = row.get(key) or ""
    if not isinstance(value, str):
        raise ValueError(f"expert '{name}': {key} is {value!r:.60}; write a text")
    return value


def card_at(source: str, folder: Path) -> Card:
    """Return the card in a source that is a local folder, an empty one where there is none."""
    if not source:
        return NO_CARD
    file = folder / Path(os.path.expandvars(source)).expanduser() / CARD_FILE
    return read_card(file) if file.is_file() else NO_CARD
