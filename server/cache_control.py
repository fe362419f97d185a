"""The header Cache-Control of a request (RFC 9111, section 5.2.1): whether a kept answer will do, and may be kept.

Owns its reading: `no-store`, `no-cache` and `max-age`; a request without it takes what there is. Other directives, and
values that are no numbers, are ignored, as the standard says. Knows nothing about caches.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["CACHE_CONTROL", "Wanted", "wanted"]

CACHE_CONTROL = "cache-control"
MAX_DIGITS = 9  # of seconds: thirty years


class Wanted(NamedTuple):
    """A kept answer has to be younger than `max_age_s` (None: of any age); `is_kept`: the new one may be kept."""

    max_age_s: float | None = None
    is_kept: bool = True


def wanted(header: str | None) -> Wanted:
    """Return what the header's value asks for."""
    max_age_s, is_kept = None, True
    for directive in (header or "").split(","):
        name, _, value = (part.strip().lower() for part in directive.partition("="))
        value = value.strip('"')
        if name == "no-store":
            is_kept = False
        elif name == "no-cache":
            max_age_s = 0.0
        elif name == "max-age" and value.isascii() and value.isdigit():
            seconds = float(value[:MAX_DIGITS])
            max_age_s = seconds if max_age_s is None else min(max_age_s, seconds)
    return Wanted(max_age_s, is_kept)
