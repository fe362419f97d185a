"""Promoting and rolling back are each other's opposite, and refuse what the state does not allow."""

from __future__ import annotations

import pytest

from router.model.versions import Versions, VersionsError
from router.versions.changes import in_shadow, promoted, rolled_back, served_now, without_shadow


def test_rolling_back_undoes_promotions_one_by_one() -> None:
    first = Versions("0001")
    second = promoted(in_shadow(first, "0002"))
    third = served_now(second, "0003")
    assert third == Versions("0003", None, ("0001", "0002"))
    assert rolled_back(third) == second
    assert rolled_back(second) == first
    with pytest.raises(VersionsError, match="nothing was served before version 0001"):
        rolled_back(first)


def test_a_shadow_survives_a_rollback_unless_it_is_served_again() -> None:
    assert rolled_back(Versions("0002", "0003", ("0001",))) == Versions("0001", "0003")
    assert rolled_back(Versions("0002", "0001", ("0001",))) == Versions("0001")
    assert served_now(Versions("0001", "0002"), "0003") == Versions("0003", "0002", ("0001",))


def test_without_a_shadow_there_is_none_to_promote_or_to_take_out() -> None:
    for change in (promoted, without_shadow):
        with pytest.raises(VersionsError, match="no version is in shadow"):
            change(Versions("0001"))
    assert without_shadow(Versions("0001", "0002")) == Versions("0001")
