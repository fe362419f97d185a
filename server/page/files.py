"""The page's files as answers, under a policy that lets a browser run and ask nothing but this server.

Owns which files there are, their content types and how long a browser may keep them. They are read once: no path of a
request touches the disk. Knows nothing about what the page does, nor who serves it.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

from starlette.responses import Response

__all__ = ["FOLDER", "page_answer"]

STATIC = Path(__file__).parent / "static"
FOLDER, INDEX = "/page/", "index.html"  # / is the index
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".LICENSE": "text/plain; charset=utf-8",
}
# Nothing inline, nothing from elsewhere. What becomes HTML goes through DOMPurify's policy, or the browser refuses it.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types dompurify",
    )
)
# Asked about each time, and mostly answered with 304: an update is seen at once, and modules never mix two versions.
HEADERS = {"cache-control": "no-cache", "content-security-policy": POLICY, "referrer-policy": "no-referrer"}


class PageFile(NamedTuple):
    """A file as it is sent. `etag` is a hash of its bytes."""

    content: bytes
    content_type: str
    etag: str


def page_answer(path: str, known: str = "") -> Response | None:
    """Return the answer to GET `path`, None where the page has no such file; `known` is the request's If-None-Match."""
    file = _files().get(path)
    if file is None:
        return None
    headers = {**HEADERS, "etag": file.etag}
    if file.etag in known:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.content_type, headers=headers)


@cache
def _files() -> dict[str, PageFile]:
    paths = (path for path in STATIC.rglob("*") if path.is_file())
    files = {f"{FOLDER}{path.relative_to(STATIC).as_posix()}": _read(path) for path in paths}
    files["/"] = files.pop(f"{FOLDER}{INDEX}")  # its links are relative to /
    return files


def _read(path: Path) -> PageFile:
    content = path.read_bytes()
    return PageFile(content, CONTENT_TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:20]}"')
