"""Each text is encoded once."""

from __future__ import annotations

import numpy as np
from router_fakes import FakeEncoder

from router.versions.remembered import RememberedEncoder


def test_a_text_is_encoded_once_and_comes_back_the_same() -> None:
    plain = FakeEncoder()
    encoder = RememberedEncoder(plain)
    first = encoder.encode(["a", "b", "a"])
    np.testing.assert_array_equal(encoder.encode(["b", "c"])[0], first[1])
    assert plain.calls == [["a", "b"], ["c"]]
    assert encoder.encode([]).shape == (0, plain.num_dims)
    assert (encoder.id, encoder.source) == (plain.id, plain.source)
