"""A decision in lines that people read."""

from __future__ import annotations

from coe.cli.decision_text import decision_lines
from coe.types import CostTerm, Decision, Neighbour, PassedOver, ShadowChoice

DECISION = Decision(
    expert="sql",
    category="sql",
    confidence=0.9,
    why="cost",
    text="",
    probabilities={name: 0.9 if name == "sql" else 0.01 for name in ("a", "b", "c", "d", "e", "sql")},
    because="category sql at 0.90",
    cost=CostTerm(0.02, "code", 0.5, 1.5, "sql", 0.49, 0.25),
    nearest=(Neighbour("id", "source", "sql", "MIT", 0.5, "some\n text"), Neighbour("x", "s", "sql", "?", 0.4)),
    passed_over=(PassedOver("maths", "queue"),),
    shadow=ShadowChoice("0002", "code", "code", 0.5, "category"),
)


def test_the_likeliest_categories_are_shown_and_all_on_demand() -> None:
    lines = list(decision_lines(DECISION))
    assert lines[:5] == [
        "expert    sql",
        "category  sql at 0.900",
        "why       cost",
        "because   category sql at 0.90",
        "   0.900  sql",
    ]
    assert (len(lines), lines[-1]) == (10, "instead   of maths (queue)")


def test_an_explanation_has_the_price_the_shadow_and_what_is_nearest() -> None:
    lines = list(decision_lines(DECISION, explains=True))
    assert lines[11:] == [
        "cost      expected scores: code 0.5000 in 1.50 s, sql 0.4900 in 0.25 s; a second is worth 0.02",
        "shadow    version 0002: code, code at 0.500, why category",
        "nearest   cosine, category, id, source, licence, text (our own prompts only)",
        "   0.500  sql  id  source  MIT  some text",
        "   0.400  sql  x  s  ?  -",
    ]
