"""What people say of decisions, appended to a file: a JSONL row each, in docs/routing.md's form.

Owns the file: rows are whole, whoever else appends, and the file stays within its bytes. Knows nothing about HTTP or
what a word on a decision means.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from coe.errors import FeedbackError
from coe.telemetry.decisions import written_time

__all__ = ["FeedbackFile", "Said"]

MAX_FILE_BYTES = 64 * 1024**2


@dataclass(frozen=True, slots=True)
class Said:
    """A word on the decision `id`: whether it was right, and which category or expert is."""

    id: str
    is_right: bool
    category: str | None = None
    expert: str | None = None
    comment: str | None = None

    @property
    def row(self) -> str:
        """The row's text, without the end of the line."""
        known = {"category": self.category, "expert": self.expert, "comment": self.comment}
        said = {"id": self.id, "time": written_time(time.time()), "right": self.is_right}
        return json.dumps({**said, **{name: value for name, value in known.items() if value is not None}})


class FeedbackFile:
    """A file that any number of threads and processes may append to; made with the first row."""

    def __init__(self, path: Path, max_bytes: int = MAX_FILE_BYTES) -> None:
        self.path, self._max_bytes = path, max_bytes

    def append(self, said: Said) -> None:
        """Append a row; raises FeedbackError where the file is full or cannot be written: then no part of it is."""
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                self._write(handle, said.row)
            finally:
                os.close(handle)
        except OSError as error:
            raise FeedbackError(
                f"feedback cannot be written ({error.strerror}); see [telemetry] feedback_file"
            ) from error

    def _write(self, handle: int, row: str) -> None:
        size_bytes = os.fstat(handle).st_size
        is_torn = size_bytes > 0 and os.pread(handle, 1, size_bytes - 1) != b"\n"  # by a process that died
        line = f"{chr(10) if is_torn else ''}{row}\n".encode()
        if size_bytes + len(line) > self._max_bytes:
            raise FeedbackError(
                f"the feedback file has {size_bytes:,} of {self._max_bytes:,} bytes; move it away ([telemetry] "
                "feedback_file)"
            )
        if os.write(handle, line) < len(line):
            os.ftruncate(handle, size_bytes)
            raise FeedbackError("feedback cannot be written (no space left); see [telemetry] feedback_file")
