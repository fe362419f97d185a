"""Cache-Control of a request, as RFC 9111 has it."""

from __future__ import annotations

import pytest

from server.cache_control import Wanted, wanted


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, Wanted()),
        ("", Wanted()),
        ("no-store", Wanted(is_kept=False)),
        ("No-Cache", Wanted(0.0)),
        ("max-age=60", Wanted(60.0)),
        ('max-age="60"', Wanted(60.0)),
        ("max-age=0", Wanted(0.0)),
        ("max-age=60, no-cache", Wanted(0.0)),
        (" no-cache ,no-store", Wanted(0.0, is_kept=False)),
        ("max-age=-1", Wanted()),
        ("max-age=soon", Wanted()),
        ("max-age", Wanted()),
        ("max-age=" + "9" * 5000, Wanted(999_999_999.0)),
        ("only-if-cached, min-fresh=3, x-other=no-store", Wanted()),
    ],
)
def test_directives(header: str | None, expected: Wanted) -> None:
    assert wanted(header) == expected
