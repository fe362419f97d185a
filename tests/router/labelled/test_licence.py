"""Whether a row's words may be shown."""

from __future__ import annotations

import pytest

from router.labelled.licence import may_be_quoted
from router.labelled.prompts import Prompt


@pytest.mark.parametrize("name", ["", "MIT", "Apache-2.0", "CC0-1.0", "CC-BY-4.0", "BSD-3-Clause"])
def test_no_licence_and_permissive_ones_may_be_quoted(name: str) -> None:
    assert may_be_quoted(Prompt("a", "x", license=name))
    assert not may_be_quoted(Prompt("a", "x", license=name, is_permissive=False))


@pytest.mark.parametrize("name", ["CC-BY-SA-3.0", "CC-BY-NC-4.0", "GPL-3.0", "proprietary", "unknown"])
def test_others_may_not(name: str) -> None:
    assert not may_be_quoted(Prompt("a", "x", license=name))
