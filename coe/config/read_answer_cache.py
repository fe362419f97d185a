"""`[answer_cache]` → AnswerCacheConfig: budget, time to live, and a threshold for each category that has one.

Returns the problems that it found beside the value; read.py collects them. Knows nothing about which categories there
are: assembly asks the router.
"""

from __future__ import annotations

from pathlib import Path

from coe.config.keys import KEYS
from coe.config.schema import AnswerCacheConfig
from coe.config.toml_fields import Checked, read_table, real

__all__ = ["read_answer_cache"]

LEAST_COSINE = 0.8  # below it prompts of one topic are near each other, whatever they ask


def read_answer_cache(raw: object, folder: Path) -> Checked[AnswerCacheConfig]:
    """Read the table `[answer_cache]`."""
    table = read_table(raw, "[answer_cache]", KEYS["answer_cache"], folder)
    written = table.value.get("semantic", {})
    readers = dict.fromkeys(written, real(LEAST_COSINE, 1)) if isinstance(written, dict) else {}
    semantic = read_table(written, "[answer_cache.semantic]", readers, folder)
    problems = (*table.problems, *semantic.problems)
    config = AnswerCacheConfig(**{**table.value, "semantic": semantic.value})
    if config.enabled and not config.exact and not written:
        problem = (
            "[answer_cache] exact = false and no category in [answer_cache.semantic]: nothing would be answered; "
            "write exact = true, a threshold, or enabled = false"
        )
        problems = (*problems, problem)
    return Checked(config, problems)
