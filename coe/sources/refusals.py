"""The guard around everything that is done for one expert: whatever goes wrong there refuses that expert alone.

An expert's folder is a stranger's: resolving, importing, binding it or loading its tokenizer may raise anything, a
RecursionError, a MemoryError or a tokenizer's Rust panic (a BaseException) included. Knows nothing about what is done.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from coe.errors import ExpertError, SourceError

__all__ = ["Refusals"]

log = logging.getLogger("coe.experts")

MOST_CHARACTERS = 500  # of a cause: third-party messages may hold a whole file


class Refusals:
    """The errors of experts that cannot be had, by name; it starts with those that are known already."""

    def __init__(self, errors: Mapping[str, ExpertError] | None = None) -> None:
        self.errors: dict[str, ExpertError] = dict(errors or {})

    @contextmanager
    def guard(self, expert: str, doing: str) -> Iterator[None]:
        """Refuse `expert` for any exception inside, in one line; `doing` completes "it cannot be …".

        KeyboardInterrupt alone passes: it ends the whole start.
        """
        try:
            yield
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # the edge to what a stranger's folder makes third-party code do
            log.debug("refused expert=%s", expert, exc_info=error)
            self.errors[expert] = error if isinstance(error, ExpertError) else SourceError(expert, _cause(doing, error))


def _cause(doing: str, error: BaseException) -> str:
    message = " ".join(str(error).split())
    shown = message if len(message) <= MOST_CHARACTERS else f"{message[:MOST_CHARACTERS]}…"
    return f"it cannot be {doing}: {type(error).__name__}{': ' if shown else ''}{shown}; mend its folder or remove it"
