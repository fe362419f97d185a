"""Model cards: what a README.md says of a model, read as data.

Owns the front matter (tags) and the first paragraph of prose. Of a card at most 64 KiB are read; YAML is read as texts,
lists and tables of texts, so that nothing in it is executed and no date or number can be malformed. Knows nothing about
experts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

__all__ = ["CARD_FILE", "Card", "card_of", "read_card"]

CARD_FILE = "README.md"
MAX_BYTES = 64 * 1024
MAX_CHARS = 400  # of the paragraph
MAX_TAGS = 8
MIN_WORDS = 5  # of a paragraph: less is a title or a badge
FRONT_MATTER = re.compile(r"\A---[ \t]*\r?\n(.*?)^---[ \t]*\r?$", re.DOTALL | re.MULTILINE)
FENCED = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
NO_PROSE = ("#", "<", "|", "![", "[![", "---", "===", "```")
NO_TOPICS = frozenset(  # of Hugging Face's tags: libraries, formats and tasks that every language model has
    [
        "transformers",
        "pytorch",
        "safetensors",
        "gguf",
        "onnx",
        "tensorflow",
        "tf",
        "jax",
        "peft",
        "lora",
        "adapter",
        "text-generation",
        "conversational",
        "text-generation-inference",
        "endpoints_compatible",
        "autotrain_compatible",
        "custom_code",
        "model-index",
        "sft",
        "trl",
        "en",
    ]
)


class Card(NamedTuple):
    """What a card says: tags that name topics, and one paragraph; both empty where it says nothing."""

    tags: tuple[str, ...]
    paragraph: str


def read_card(file: Path) -> Card:
    """Return what a model card says.

    Raises:
        ValueError: front matter that is not YAML.
    """
    with file.open("rb") as stream:
        text = stream.read(MAX_BYTES).decode("utf-8", "replace")
    try:
        return card_of(text)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def card_of(text: str) -> Card:
    """Return what a card's text says; raises ValueError for front matter that is not YAML."""
    found = FRONT_MATTER.match(text)
    fields = front_matter(found[1]) if found else {}
    prose = text[found.end() :] if found else text
    return Card(tuple(topics(fields.get("tags"))), next(paragraphs(prose), ""))


def front_matter(text: str) -> dict[object, object]:
    """Return the table that the front matter is, empty for anything else."""
    try:
        fields = yaml.load(text, Loader=yaml.BaseLoader)  # a loader that makes nothing but texts
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ValueError(f"its front matter is not YAML ({' '.join(str(error).split())[:120]})") from error
    return fields if isinstance(fields, dict) else {}


def topics(tags: object) -> Iterator[str]:
    """Yield the first few tags that name what a model is about."""
    names = [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
    yield from [tag for tag in names if ":" not in tag and tag.casefold() not in NO_TOPICS][:MAX_TAGS]


def paragraphs(markdown: str) -> Iterator[str]:
    """Yield the paragraphs of prose, without markup: no headings, pictures, tables, code or HTML."""
    for block in re.split(r"\n\s*\n", FENCED.sub("", markdown.replace("\r\n", "\n"))):
        lines = [line for line in map(str.strip, block.split("\n")) if not line.startswith(NO_PROSE)]
        words = LINK.sub(r"\1", " ".join(lines)).replace("*", "").replace("`", "").lstrip("> ").split()
        if len(words) >= MIN_WORDS:
            yield shortened(" ".join(words))


def shortened(text: str) -> str:
    """Return a text of at most MAX_CHARS, cut at the end of a sentence or of a word."""
    if len(text) <= MAX_CHARS:
        return text
    cut = text[:MAX_CHARS]
    ending = cut.rfind(". ")
    return cut[: ending + 1] if ending > 0 else cut.rpartition(" ")[0] or cut
