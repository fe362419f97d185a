"""Authored conversations: enough of them, in every language, with known categories."""

from __future__ import annotations

from collections import Counter

import pytest

from router.labelled.authored import LANGUAGES, authored_prompts, language_family, text_files
from router.labelled.conversations import follow_ups, instructed_prompts, parts, short_prompts, wrapped_prompts

CATEGORIES = {prompt.category for prompt in authored_prompts()}
SPOKEN = [file.stem for file in text_files(LANGUAGES)]


def test_every_category_has_thirty_prompts_in_every_language_ten_of_them_long() -> None:
    assert len(SPOKEN) >= 12
    for language in SPOKEN:
        prompts = [prompt for prompt in authored_prompts() if prompt.family == language_family(language)]
        is_dense = language in ("zh", "ja", "ko")
        long = Counter(prompt.category for prompt in prompts if len(prompt.text) >= (80 if is_dense else 180))
        assert Counter(prompt.category for prompt in prompts).keys() == CATEGORIES
        assert min(Counter(prompt.category for prompt in prompts).values()) >= 30, language
        assert min(long.values()) >= 10, language


def test_every_language_has_follow_ups_and_short_prompts() -> None:
    found = Counter(each.language for each in follow_ups())
    for language in SPOKEN:
        assert found[language] >= 60
        assert len(short_prompts(language)) >= 25


def test_system_turns_and_wrappers_have_known_categories() -> None:
    assert {each.category for each in instructed_prompts()} == CATEGORIES
    assert {each.category for each in wrapped_prompts()} == CATEGORIES


def test_a_line_without_its_mark_is_named() -> None:
    assert parts("a ::: b ::: c", " ::: ") == ("a", "b ::: c")
    with pytest.raises(ValueError, match="'no mark' has no ':::'"):
        parts("no mark", " ::: ")
