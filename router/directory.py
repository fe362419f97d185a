"""The names of the experts: aliases, any case, and the form of an `@expert` mention. Knows nothing about categories."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from coe.errors import UnknownExpertError, nearest, shown

__all__ = ["Directory", "Mention"]

MENTION = re.compile(r"\s*@(\S+)")
MAX_CHARS = 1000  # where a mention ends at the latest
# a decorator or annotation above code: `@tools`, a new line, `def`, another decorator, `public`, ...
DECORATED = re.compile(
    r"[ \t]*\r?\n\s*(@\w|(async\s+)?(def|class|function|func|fn|fun)\b"
    r"|(export|public|private|protected|static|final|abstract)\b)"
)
AFTER_NAME = ",:;.!?)"  # "@sql, list …" and "@sql: list …" name sql


@dataclass(frozen=True, slots=True)
class Mention:
    """A leading `@name` that names an expert, and the turn without it."""

    expert: str
    text: str


class Directory:
    """Names and aliases, in any case, to experts."""

    def __init__(self, names: Mapping[str, str], general: str) -> None:
        self.experts = tuple(dict.fromkeys(names.values()))
        self._names = {name.casefold(): expert for name, expert in names.items()}
        self._names |= {expert.casefold(): expert for expert in self.experts}
        self.general = self.resolve(general, "general")

    def resolve(self, name: str, what: str = "expert") -> str:
        """Return the expert of a name or alias that a configuration gives.

        Raises:
            ValueError: no expert has that name; the message says `what` it stands for and lists the experts.
        """
        expert = self._names.get(name.casefold())
        if expert is None:
            raise ValueError(f"{what} '{name}': no such expert; known experts: {self._known}")
        return expert

    def requested(self, name: str) -> str:
        """Return the expert of a name or alias that a request gives; raises UnknownExpertError where there is none."""
        expert = self._names.get(name.casefold())
        if expert is None:
            hint = nearest(name, self.experts, "the experts are")
            raise UnknownExpertError(f"there is no expert {shown(name)}; {hint}", param="model")
        return expert

    @property
    def _known(self) -> str:
        return ", ".join(sorted(self.experts)) or "none"

    def mention(self, text: str) -> Mention | None:
        """Return the expert that a leading `@name` names; None for any other text, also for an unknown `@name`.

        A decorator above pasted code is no mention.
        """
        match = MENTION.match(text[: MAX_CHARS + 1])
        if match is None or match.end() > MAX_CHARS or DECORATED.match(text, match.end()):
            return None
        word = match.group(1)
        bare = word.rstrip(AFTER_NAME)
        expert = self._names.get(word.casefold()) or self._names.get(bare.casefold())
        return Mention(expert, text[match.end() :].lstrip()) if expert else None
