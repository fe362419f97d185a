"""Wishes of a request: who may not answer, and who is to where it is nearly as likely."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coe.errors import InvalidRequestError, UnknownExpertError
from coe.types import Decision, Message, RouteQuery, Snapshot
from router.directory import Directory
from router.wishes import wished

DIRECTORY = Directory({name: name for name in ("code", "math", "law", "general")} | {"maths": "math"}, "general")
MAPPING = {"programming": "code", "sums": "math", "contracts": "law"}
PROBABLE = {"programming": 0.5, "sums": 0.3, "chat": 0.15, "contracts": 0.05}
CODE = Decision("code", "programming", 0.5, "category", "x", PROBABLE, "category programming", alternatives=("math",))
QUERY = RouteQuery((Message("user", "x"),))


def decided(decision: Decision = CODE, broken: frozenset[str] = frozenset(), **wishes: tuple[str, ...]) -> Decision:
    query = replace(QUERY, **wishes, snapshot=Snapshot(broken=broken))  # type: ignore[arg-type]
    return wished(decision, query, MAPPING, DIRECTORY)


def test_without_wishes_nothing_changes() -> None:
    assert decided() is CODE


def test_the_next_likeliest_answers_for_an_excluded_one_which_is_no_alternative() -> None:
    found = decided(exclude=("CODE",))
    assert (found.expert, found.why, found.instead_of) == ("math", "wish", "code")
    assert "excludes code" in found.because
    assert "code" not in found.alternatives
    assert decided(exclude=("code", "maths")).expert == "general"
    assert decided(exclude=("code", "math", "general")).expert == "law"
    assert decided(exclude=("code",), broken=frozenset({"math"})).expert == "general"


def test_an_excluded_alternative_is_none() -> None:
    found = decided(exclude=("math",))
    assert (found.expert, found.why, found.alternatives) == ("code", "category", ())


def test_a_preferred_expert_answers_where_it_is_at_least_half_as_likely() -> None:
    found = decided(prefer=("law", "math"))
    assert (found.expert, found.why, found.instead_of) == ("math", "wish", "code")
    assert found.alternatives[0] == "code"
    assert decided(prefer=("law",)).why == "category"
    assert decided(prefer=("code",)).why == "category"
    assert decided(prefer=("math",), exclude=("math",)).expert == "code"


def test_who_is_named_or_ruled_is_not_preferred_away() -> None:
    for why in ("model", "mention", "rule"):
        assert decided(replace(CODE, why=why), prefer=("math",)).expert == "code"


@pytest.mark.parametrize("why", ["model", "mention"])
def test_a_request_may_not_exclude_whom_it_names(why: str) -> None:
    with pytest.raises(InvalidRequestError, match="nobody"):
        decided(replace(CODE, why=why), exclude=("code",))


def test_excluding_everybody_and_unknown_names_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match="code, general, law, math"):
        decided(exclude=("code", "math", "law", "general"))
    for field in ("exclude", "prefer"):
        with pytest.raises(UnknownExpertError, match="nobody"):
            decided(**{field: ("nobody",)})
