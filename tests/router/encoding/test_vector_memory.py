"""Vectors are remembered for their owner alone, and a bounded number of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from router_fakes import FakeEncoder

from router.encoding.vector_memory import OwnedText, VectorMemory


class Counted(FakeEncoder):
    """Remembers every text that it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked += texts
        return super().encode(texts)


def test_the_same_owner_hits_and_another_misses() -> None:
    encoder = Counted()
    memory = VectorMemory(encoder)
    alice, bob = OwnedText("hello", "alice"), OwnedText("hello", "bob")
    first = memory.encode([alice, alice])
    assert encoder.asked == ["hello"]
    np.testing.assert_array_equal(memory.encode([alice]), first[:1])
    assert encoder.asked == ["hello"]
    np.testing.assert_array_equal(memory.encode([bob, alice]), first)
    assert encoder.asked == ["hello", "hello"]
    assert memory.encode([]).shape == (0, encoder.num_dims)


def test_what_was_not_asked_for_longest_is_forgotten() -> None:
    encoder = Counted()
    memory = VectorMemory(encoder, max_texts=2)
    for text in ("a", "b", "a", "c"):
        memory.encode([OwnedText(text)])
    assert len(memory) == 2
    memory.encode([OwnedText("a"), OwnedText("b")])
    assert encoder.asked == ["a", "b", "c", "b"]
