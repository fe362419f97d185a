"""8-bit products are close to float32, and no row touches another."""

from __future__ import annotations

import pytest
import torch

from router.encoding.encoder import Encoder
from router.encoding.int8 import Int8Linear


def test_eight_bit_products_are_close_and_rows_do_not_touch_each_other() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(48, 32, generator=generator), torch.randn(48, generator=generator)
    x = torch.randn(20, 32, generator=generator)
    x[:, 3] += 12  # one large one-sided channel, as in every transformer
    x[7] = 0.5  # a row without any range
    linear = Int8Linear(weight, bias)
    exact = x @ weight.T + bias
    assert torch.nn.functional.cosine_similarity(linear(x), exact, dim=1).min() > 0.999
    torch.testing.assert_close(linear(x)[7], exact[7], atol=0.1, rtol=0.02)
    torch.testing.assert_close(linear(x)[4:5], linear(x[4:5]), atol=0, rtol=0)


def test_the_default_in_eight_bits_stays_close_to_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [
        "What are the symptoms of appendicitis?",
        "Write a SQL query that lists the ten largest customers.",
        "Summarise the following article in two sentences. " + "The council met on Tuesday to vote. " * 20,
    ]
    vectors = {}
    for is_int8 in (True, False):
        monkeypatch.setattr("router.encoding.bert.is_fast_here", lambda is_int8=is_int8: is_int8)
        vectors[is_int8] = Encoder().encode(texts).reshape(-1, 384)
    assert (vectors[True] * vectors[False]).sum(axis=1).min() > 0.995
