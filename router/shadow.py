"""A router in shadow: what it would have decided stands beside each decision, and nothing else changes.

Owns that the decisions themselves never depend on the shadow, also when it fails. Knows nothing about classifiers, and
neither logs nor counts.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace

from coe.types import Decision, ShadowChoice

__all__ = ["with_shadow"]


def with_shadow(
    decisions: Sequence[Decision], version: str, decide: Callable[[], Sequence[Decision]]
) -> list[Decision]:
    """Return the decisions, those of the classifier with the shadow's beside them, or with why it has none."""
    if not any(decision.probabilities for decision in decisions):
        return list(decisions)
    try:
        beside = [choice_of(version, other) for other in decide()]
        if len(beside) != len(decisions):
            raise RuntimeError(f"{len(beside)} decisions of {len(decisions)} prompts")
    except Exception as error:  # nobody is answered by the shadow, so nobody is refused because of it
        beside = [ShadowChoice(version, error=kind_of(error))] * len(decisions)
    return [
        replace(decision, shadow=choice) if decision.probabilities else decision
        for decision, choice in zip(decisions, beside, strict=True)
    ]


def kind_of(error: Exception) -> str:
    """Return the class of an error and its place; its message may quote a prompt, perhaps another client's."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: in {last.name}, line {last.lineno}"


def choice_of(version: str, decision: Decision) -> ShadowChoice:
    return ShadowChoice(version, decision.expert, decision.category, decision.confidence, decision.why)
