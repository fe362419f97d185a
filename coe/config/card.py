"""Model cards: what the README.md beside a model's weights says of it, in one paragraph.

Owns how the paragraph is found: the first one of plain prose, after the YAML head; headings, pictures, badges, tables,
lists and code are passed over. Knows nothing about experts.
"""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["CARD", "card_paragraph"]

CARD = "README.md"
_MAX_BYTES = 1 << 16
_MAX_CHARS = 400
_MIN_WORDS = 5
_HEAD = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_CODE = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
_NO_PROSE = re.compile(r"[#|<>!]|\[!|[-*+]\s|\d+[.)]\s")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_MARKUP = re.compile(r"[*_`]|<[^>]*>")


def card_paragraph(folder: Path) -> str | None:
    """Return the first paragraph of prose of the card in a folder, None where there is none."""
    try:
        with (folder / CARD).open("rb") as stream:
            text = stream.read(_MAX_BYTES).decode("utf-8", "replace").replace("\r\n", "\n")
    except OSError:
        return None
    for paragraph in re.split(r"\n\s*\n", _CODE.sub("", _HEAD.sub("", text))):
        line = " ".join(paragraph.split())
        if not line or _NO_PROSE.match(line):
            continue
        prose = _MARKUP.sub("", _LINK.sub(r"\1", line)).strip()
        if len(prose.split()) >= _MIN_WORDS:
            return prose[:_MAX_CHARS]
    return None
