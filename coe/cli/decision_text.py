"""A decision in lines that people read: expert, category, why, probabilities, and on demand all that explains it."""

from __future__ import annotations

from collections.abc import Iterator

from coe.types import Decision

__all__ = ["decision_lines"]

NUM_SHOWN = 5  # probabilities, where not all are asked for
TEXT_CHARS = 80  # of a training prompt's text


def decision_lines(decision: Decision, *, explains: bool = False) -> Iterator[str]:
    """Yield the lines; with `explains` every probability, the cost term, the shadow and the nearest prompts, too."""
    confidence = "" if decision.confidence is None else f" at {decision.confidence:.3f}"
    yield f"expert    {decision.expert}"
    yield f"category  {decision.category or '-'}{confidence}"
    yield f"why       {decision.why}"
    yield f"because   {decision.because}"
    shown = None if explains else NUM_SHOWN
    for category, probability in sorted(decision.probabilities.items(), key=lambda item: -item[1])[:shown]:
        yield f"  {probability:6.3f}  {category}"
    if decision.passed_over:
        yield "instead   of " + ", ".join(f"{each.expert} ({each.reason})" for each in decision.passed_over)
    if explains:
        yield from _explanation(decision)


def _explanation(decision: Decision) -> Iterator[str]:
    """Yield what the price of a switch weighed, what the shadow says, and the nearest training prompts."""
    if cost := decision.cost:
        mapped = f"{cost.mapped} {cost.mapped_score:.4f} in {cost.mapped_load_s:.2f} s"
        chosen = f"{cost.chosen} {cost.chosen_score:.4f} in {cost.chosen_load_s:.2f} s"
        yield f"cost      expected scores: {mapped}, {chosen}; a second is worth {cost.score_per_second:g}"
    if shadow := decision.shadow:
        confidence = "" if shadow.confidence is None else f" at {shadow.confidence:.3f}"
        choice = f"{shadow.expert}, {shadow.category or '-'}{confidence}, why {shadow.why}"
        yield f"shadow    version {shadow.version}: {choice if shadow.error is None else shadow.error}"
    if decision.nearest:
        yield "nearest   cosine, category, id, source, licence, text (our own prompts only)"
    for near in decision.nearest:
        text = "-" if near.text is None else " ".join(near.text.split())[:TEXT_CHARS]
        yield f"  {near.cosine:6.3f}  {near.category}  {near.id}  {near.source}  {near.license}  {text}"
