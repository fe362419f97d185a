"""Licences of rows: whether a row's words may be shown to people.

Owns the names of permissive licences, compared by how they begin. Covered: that a text may be quoted. Not covered:
whether what is trained on it may ship; `router.labelled.shipped` decides that for our own.
"""

from __future__ import annotations

import re

from router.labelled.prompts import Prompt

__all__ = ["may_be_quoted"]

PERMISSIVE = re.compile(
    r"(mit|apache|bsd|isc|cc0|cc-by|cc by|unlicense|odc-by|pddl|cdla-permissive|public domain)\b", re.I
)
RESTRICTED = re.compile(r"\b(sa|nc|nd)\b", re.I)  # of Creative Commons: share alike, non-commercial, no derivatives


def may_be_quoted(prompt: Prompt) -> bool:
    """Return whether the row has no licence or a permissive one, and does not say that it is not permissive."""
    name = prompt.license.strip()
    return prompt.is_permissive and (not name or bool(PERMISSIVE.match(name) and not RESTRICTED.search(name)))
