"""Pieces of a long list: few texts and few tokens, so that others have their turn."""

from __future__ import annotations

from coe.embedding.encoder_vectors import PIECE_TEXTS, PIECE_TOKENS, pieces


def test_pieces_have_few_texts_and_few_tokens() -> None:
    ids = [(1,) * size for size in (10, 600, 600, 5000, *[2] * 40)]
    found = list(pieces(ids))
    assert [each for piece in found for each in piece] == ids
    assert all(len(piece) <= PIECE_TEXTS for piece in found)
    assert all(len(piece) == 1 or sum(map(len, piece)) <= PIECE_TOKENS for piece in found)
