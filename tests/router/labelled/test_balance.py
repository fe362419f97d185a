"""The balance counts what is distinct, and reports what is odd."""

from __future__ import annotations

from router.labelled.balance import balance_of
from router.labelled.prompts import Prompt


def test_the_balance_counts_distinct_prompts_conflicts_and_straddling() -> None:
    prompts = [
        Prompt("what is 1 plus 1", "math", "a"),
        Prompt("what is 2 plus 2", "math", "b", split="test"),
        Prompt("what is 3 plus 3", "code", "c"),
        Prompt("write a poem", "creative", "d", family="poems"),
    ]
    balance = balance_of(prompts)
    assert [(row.category, row.num_prompts, row.num_distinct) for row in balance.categories] == [
        ("math", 2, 1),
        ("code", 1, 1),
        ("creative", 1, 1),
    ]
    assert (balance.num_prompts, balance.num_distinct) == (4, 2)
    assert balance.conflicts == balance.straddling == (("a (math, train)", "b (math, test)", "c (code, train)"),)
    assert "near-duplicates with different categories: 1 groups" in str(balance)
