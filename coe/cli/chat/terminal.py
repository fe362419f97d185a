"""Lines in and text out: a terminal with a history, or a pipe.

At a terminal Ctrl-C at the prompt clears the line, and Ctrl-D ends. Over a pipe answers alone go to stdout, all else to
stderr. Knows nothing about conversations.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

__all__ = ["Terminal"]

PROMPT = "> "
MOST_KEPT = 1000  # lines of history
DIM, PLAIN = "\033[2m", "\033[0m"
KEPT_CONTROLS = frozenset("\n\t")


class Terminal:
    """The process's own stdin, stdout and stderr. `history` is a file of past lines, None to keep none."""

    def __init__(self, history: Path | None = None) -> None:
        self.is_interactive = sys.stdin.isatty()
        self._history = history if self.is_interactive else None
        self._is_seen = sys.stdout.isatty()
        self._has_colours = self._is_seen and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"

    def lines(self, words: Sequence[str]) -> Iterator[str]:
        """Yield what is typed or piped in, line by line; `words` complete what is typed."""
        if not self.is_interactive:
            yield from (line.rstrip("\n") for line in sys.stdin)
            return
        with suppress(ImportError):  # a Python without readline has no history, nothing worse
            _set_up_readline(words, self._history)
        try:
            while True:
                try:
                    yield input(PROMPT)
                except KeyboardInterrupt:
                    print()
                except EOFError:
                    print()
                    return
        finally:
            if self._history is not None:
                with suppress(ImportError):
                    _keep_history(self._history)

    def write(self, text: str, *, is_aside: bool = False) -> None:
        """Show a piece of an answer; an aside is what was thought."""
        shown = _harmless(text) if self._is_seen else text
        if is_aside and not self.is_interactive:
            return
        print(f"{DIM}{shown}{PLAIN}" if is_aside and self._has_colours else shown, end="", flush=True)

    def note(self, text: str) -> None:
        """Show a line or several that are no answer."""
        if self.is_interactive:
            print(f"{DIM}{text}{PLAIN}" if self._has_colours else text, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)


def _harmless(text: str) -> str:
    """Return a text in which no control character reaches the terminal, which would obey it."""
    return "".join(each if each.isprintable() or each in KEPT_CONTROLS else "\ufffd" for each in text)


def _set_up_readline(words: Sequence[str], history: Path | None) -> None:
    import readline

    def completed(text: str, number: int) -> str | None:
        fitting = [word for word in words if word.startswith(text)] if text.startswith("/") else []
        return fitting[number] if number < len(fitting) else None

    readline.set_completer(completed)
    readline.set_completer_delims("")
    readline.parse_and_bind("tab: complete")
    readline.set_history_length(MOST_KEPT)
    if history is not None and history.exists():
        readline.read_history_file(history)


def _keep_history(history: Path) -> None:
    """Write the history to its file, which only its owner may read: it has prompts."""
    import readline

    history.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(history, os.O_WRONLY | os.O_CREAT, 0o600))
    readline.write_history_file(history)
