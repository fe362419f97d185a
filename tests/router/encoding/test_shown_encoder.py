"""An encoder behind a bar gives the encoder's own vectors, in the order of the texts."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
from router_fakes import FakeEncoder

from router.encoding.shown_encoder import CHUNK, ShownEncoder


def test_vectors_are_the_encoders_own_and_nothing_is_drawn_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    encoder = FakeEncoder()
    texts = [f"{'word ' * (at % 7)}{at}" for at in range(2 * CHUNK + 1)]
    shown = ShownEncoder(encoder)
    np.testing.assert_array_equal(shown.encode(texts), FakeEncoder().encode(texts))
    assert sorted(map(len, encoder.calls)) == [1, CHUNK, CHUNK]
    assert (shown.id, shown.source, shown.num_dims) == (encoder.id, encoder.source, encoder.num_dims)
    assert capsys.readouterr() == ("", "")


def test_few_texts_are_encoded_at_once() -> None:
    encoder = FakeEncoder()
    ShownEncoder(encoder).encode(["b", "a"])
    assert encoder.calls == [["b", "a"]]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_is_drawn_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    ShownEncoder(FakeEncoder()).encode(["a b c"] * (CHUNK + 1))
    drawn = sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert "encoding" in drawn
    assert "100%" in drawn
