"""Rewritings are seeded and keep what a prompt asks for."""

from __future__ import annotations

import pytest

from router.evaluation.rewritings import REWRITINGS, rewritten


@pytest.mark.parametrize("name", REWRITINGS)
def test_a_rewriting_is_seeded_and_keeps_most_letters(name: str) -> None:
    text = "Which of these statements follows? Please, think: the answer is short."
    first = rewritten(text, name)
    assert first == rewritten(text, name) != text
    kept = set(first.casefold().split()) & set(text.casefold().replace("?", "").replace(",", "").split())
    assert len(kept) >= 4
