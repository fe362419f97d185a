"""Results of experts on rows, in a file that is only appended to: one JSON object a line, each with a key.

The key covers everything that a result depends on: a changed prompt, expert or setting is asked anew, and nothing else
is asked twice. Covered: a run that was stopped or killed, also in the middle of a line. Not covered: two runs that
write the same file at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from coe.errors import ConfigError

__all__ = ["Result", "Results"]


@dataclass(frozen=True, slots=True)
class Result:
    """One expert on one row. `score` is 0 … 1, or None where the expert cannot take the row (`error` says why).

    `answer` is the text that was generated, perhaps cut short, or the choice that was likeliest. `logprobs` has the
    total of each choice, or the mean per token of the reference.
    """

    key: str
    expert: str
    id: str
    score: float | None
    answer: str | None = None
    logprobs: tuple[float, ...] = ()
    error: str | None = None


class Results:
    """The file, open for appending; use it as a context manager. Raises ConfigError for a file of something else."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._known = _read(path) if path.exists() else {}
        self._stream = path.open("a", encoding="utf-8")

    @property
    def known(self) -> Mapping[str, Result]:
        return self._known

    def add(self, result: Result) -> None:
        self._stream.write(json.dumps(asdict(result), ensure_ascii=False) + "\n")
        self._stream.flush()  # a run may be killed at any time
        self._known[result.key] = result

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()


def _read(path: Path) -> dict[str, Result]:
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):  # a killed run's last line
        with path.open("r+b") as stream:
            stream.truncate(whole)
    known: dict[str, Result] = {}
    for number, line in enumerate(data[:whole].decode("utf-8", "replace").split("\n")[:-1], start=1):
        try:
            raw = json.loads(line)
            result = Result(**{**raw, "logprobs": tuple(raw["logprobs"])})
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(
                f"{path}:{number} is no result ({error}); remove the line, or name another file with --results"
            ) from error
        known[result.key] = result
    return known
