"""One line in the log for each request that failed: its id, status, code, key and path, and never what was in it.

The gate opens a record for each request; whatever answers with a failure notes it there. The record is a context
variable, so that a stream, which fails long after its headers, finds it too. Prompts stay out of the log: of an
exception that is not coe's own, only its class and its frames are written.
"""

from __future__ import annotations

import logging
import re
import traceback
import uuid
from contextvars import ContextVar
from dataclasses import dataclass, field

from coe.errors import CoeError, shown

__all__ = ["RequestRecord", "current_record", "record_as_current"]

log = logging.getLogger("coe.server")

MAX_METHOD_CHARS = 20
_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_CURRENT: ContextVar[RequestRecord | None] = ContextVar("request", default=None)


@dataclass(slots=True)
class RequestRecord:
    """What is known of one request while it is answered. `id` is the client's own x-request-id if that is sane."""

    method: str
    path: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    key: str = ""
    status: int = 0  # of the error
    code: str | None = None
    error: Exception | None = None

    @classmethod
    def of(cls, method: str, path: str, own_id: str | None) -> RequestRecord:
        record = cls(method[:MAX_METHOD_CHARS], path)
        if own_id and _SANE_ID.fullmatch(own_id):
            record.id = own_id
        return record

    def note(self, status: int, code: str | None, error: Exception) -> None:
        """Remember why the request failed; the first reason counts."""
        if self.error is None:
            self.status, self.code, self.error = status, code, error

    def write(self) -> None:
        """Write the line, if the request failed."""
        if self.error is None:
            return
        level = logging.ERROR if self.status >= 500 else logging.WARNING
        where = f"{self.method} {shown(self.path)}"
        key = f" key={self.key}" if self.key else ""
        log.log(
            level, "failed id=%s status=%d code=%s%s %s%s", self.id, self.status, self.code, key, where, self._why()
        )

    def _why(self) -> str:
        """Return the cause of what is the server's own failure: of others the client has been told, not the log."""
        if self.error is None or self.status < 500:
            return ""
        if isinstance(self.error, CoeError):
            return " error=" + " ".join(str(self.error).split())
        text = str(self.error) if isinstance(self.error, OSError | MemoryError) else ""  # others may hold a prompt
        frames = "".join(traceback.format_tb(self.error.__traceback__))
        return f" error={type(self.error).__name__} {text}\n{frames}".rstrip()


def current_record() -> RequestRecord | None:
    """Return the record of the request that is being answered, None outside of one."""
    return _CURRENT.get()


def record_as_current(record: RequestRecord) -> None:
    """Make it the record of this task and of those that it starts."""
    _CURRENT.set(record)
