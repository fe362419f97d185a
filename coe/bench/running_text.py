"""The text that prompts of engine benchmarks are cut from, and how."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["TEXT", "prompt_of"]

TEXT = """
The old harbour lay quiet under a thin rain. Three boats were tied to the pier, and a woman in a yellow coat was
counting crates of oranges that nobody had ordered. She had a list, 2,417 entries long, and a pencil; the pencil was
short. "Eleven", she said to the gull on the post, "and eleven is too many." The gull had no opinion. Across the water
the mill turned, as it had turned since 1868, grinding barley for a town that bought its bread elsewhere. If f(x) is
the price of an orange after x days, then f(0) = 30 cents and f(7) = 4 cents, so waiting was no plan. She wrote to the
harbour master, to the bank in Lisbon, and to her brother, who knew a little law: who pays for fruit that was never
asked for? The brother answered first. Keep what is good, he wrote, sell what is ripe, and send the bill with the ship.
"""


def prompt_of(words: Sequence[int], row: int, length: int) -> list[int]:
    """`length` tokens of running text; every row begins elsewhere, so that no two share a prefix."""
    at = 7 * row % len(words)
    return ([*words[at:], *words[:at]] * (length // len(words) + 1))[:length]
