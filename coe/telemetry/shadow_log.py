"""What is told of a router in shadow: a count of each decision beside which it decided, a line for each other one.

Owns what makes two decisions the same, and that no text of a prompt is logged. One thread may use it at a time. Knows
nothing about how a router decides.
"""

from __future__ import annotations

import hashlib
import logging

from coe.telemetry.metrics import Metrics
from coe.types import Decision, RouteQuery, ShadowChoice

__all__ = ["ShadowLog"]

log = logging.getLogger("coe.shadow")


class ShadowLog:
    """Counts and logs; the error of a shadow is logged once of each kind and counted each time."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._logged_kinds: set[str] = set()

    def note(self, query: RouteQuery, decision: Decision) -> None:
        """Take in a decision; a question of who would answer is no traffic and is left out."""
        shadow = decision.shadow
        if shadow is None or query.only_explains:
            return
        if shadow.error is not None:
            self._metrics.shadowed("failed")
            self._log_once(shadow.version, shadow.error)
        elif _is_same(decision, shadow):
            self._metrics.shadowed("same")
        else:
            self._metrics.shadowed("different")
            words = "shadow differs prompt=%s expert=%s category=%s confidence=%s why=%s; version=%s %s"
            served = (decision.expert, decision.category, _shown(decision.confidence), decision.why)
            log.info(words, _digest(decision.text), *served, shadow.version, _in_words(shadow))

    def _log_once(self, version: str, error: str) -> None:
        kind = error.split(":")[0]
        if kind not in self._logged_kinds:
            self._logged_kinds.add(kind)
            log.error("shadow version=%s decides nothing: %s; further errors of this kind are counted", version, error)


def _is_same(decision: Decision, shadow: ShadowChoice) -> bool:
    """Return True where both send the prompt to the same expert, as the same category if they are sure of one."""
    is_guess = decision.why == shadow.why == "abstain"
    return decision.expert == shadow.expert and (is_guess or decision.category == shadow.category)


def _in_words(shadow: ShadowChoice) -> str:
    confidence = _shown(shadow.confidence)
    return f"expert={shadow.expert} category={shadow.category} confidence={confidence} why={shadow.why}"


def _shown(confidence: float | None) -> str:
    return "-" if confidence is None else f"{confidence:.3f}"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()
