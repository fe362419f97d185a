"""`[answer_cache]`: thresholds by category, and what is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from configurations import A, check_refused, read

from coe.config.describe import describe
from coe.config.schema import AnswerCacheConfig

REFUSALS = [
    ("answer_cache = 3", "[answer_cache] = 3: not a table"),
    ("answer_cache.enabled = 1", "[answer_cache] enabled = 1: neither true nor false"),
    ("answer_cache.max_bytes = 0", "[answer_cache] max_bytes = 0: a size must be above zero"),
    ("answer_cache.ttl_s = 0", "[answer_cache] ttl_s = 0: out of range; write a number above 0"),
    ("answer_cache.ttl = 3", "unknown key 'ttl' in [answer_cache]; did you mean 'ttl_s'?"),
    ("answer_cache.semantic = 0.9", "[answer_cache.semantic] = 0.9: not a table"),
    (
        "answer_cache.semantic.math = 0.5",
        "[answer_cache.semantic] math = 0.5: out of range; write a number at least 0.8",
    ),
    ("answer_cache.semantic.math = 1.5", "math = 1.5: out of range; write a number at least 0.8 and at most 1"),
    ("answer_cache.semantic.math = true", "[answer_cache.semantic] math = true: not a number"),
    ("answer_cache = {enabled = true, exact = false}", "[answer_cache] exact = false and no category"),
]


@pytest.mark.parametrize(("text", "expected"), REFUSALS)
def test_bad_value_is_refused_by_name_once(folder: Path, text: str, expected: str) -> None:
    check_refused(folder, A + text, expected)


def test_it_is_off_by_default(folder: Path) -> None:
    assert read(folder, A).answer_cache == AnswerCacheConfig(False, 64_000_000, 3600.0, True, {})


def test_values_and_thresholds_are_read_and_described(folder: Path) -> None:
    text = (
        '[answer_cache]\nenabled = true\nmax_bytes = "1MB"\nttl_s = 9\nexact = false\nsemantic = {math = 0.95, law = 1}'
    )
    config = read(folder, f"{A}{text}")
    assert config.answer_cache == AnswerCacheConfig(True, 1_000_000, 9.0, False, {"math": 0.95, "law": 1.0})
    assert "semantic = math from 0.95, law from 1" in describe(config)
    assert "semantic = (off)" in describe(read(folder, A))
