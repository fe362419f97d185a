"""The log of decisions: bounded, without prompts unless allowed, and nobody finds another's."""

from __future__ import annotations

from coe.telemetry.decisions import MAX_PROMPT_CHARS, DecisionLog, row_of, written_time
from coe.types import Decision, GenerateRequest, PassedOver

DECISION = Decision("sql", "sql", 0.9, "category", "a secret")


def request(request_id: str, owner: str = "", own: str = "") -> GenerateRequest:
    return GenerateRequest(request_id, owner=owner, request_id=own)


def test_the_newest_are_kept_the_oldest_first() -> None:
    log = DecisionLog(3, keeps_prompts=False)
    for at in range(5):
        log.note(request(f"r{at}", own=f"mine{at}"), DECISION)
    assert [decided.id for decided in log.last(99)] == ["r2", "r3", "r4"]
    assert [decided.id for decided in log.last(1)] == ["r4"]
    assert log.last(0) == []
    assert log.find("r1", "") is None
    assert log.find("mine1", "") is None
    assert len(log._ids) == len(log) == 3


def test_a_log_of_nothing_keeps_nothing() -> None:
    log = DecisionLog(0, keeps_prompts=True)
    log.note(request("r1"), DECISION)
    assert log.last(9) == []


def test_one_finds_ones_own_by_either_name_and_no_others() -> None:
    log = DecisionLog(9, keeps_prompts=False)
    log.note(request("r1", "alice", "mine"), DECISION)
    log.note(request("r2", "bob", "mine"), DECISION)
    log.note(request("r3", "alice", "mine"), DECISION)
    assert [getattr(log.find(name, "alice"), "id", None) for name in ("r1", "mine", "r2", "")] == [
        "r1",
        "r3",
        None,
        None,
    ]
    assert getattr(log.find("mine", "bob"), "id", None) == "r2"


def test_a_prompt_is_kept_only_where_that_is_allowed_and_only_both_ends_of_a_long_one() -> None:
    kept, bare = DecisionLog(9, keeps_prompts=True), DecisionLog(9, keeps_prompts=False)
    for log in (kept, bare):
        log.note(request("r1"), DECISION)
        log.note(request("r2"), Decision("sql", None, None, "model", "a" * MAX_PROMPT_CHARS + "b" * MAX_PROMPT_CHARS))
    assert "prompt" not in row_of(bare.last(2)[0])
    short, long = (row_of(decided)["prompt"] for decided in kept.last(2))
    assert short == "a secret"
    assert (long.count("a"), long.count("b")) == (MAX_PROMPT_CHARS // 2, MAX_PROMPT_CHARS // 2)


def test_a_second_decision_on_a_request_takes_the_firsts_place() -> None:
    log = DecisionLog(9, keeps_prompts=False)
    log.note(request("r1"), DECISION)
    log.note(request("r1"), Decision("code", "sql", 0.9, "category", "", passed_over=(PassedOver("sql", "queue"),)))
    (decided,) = log.last(9)
    assert (decided.expert, decided.passed_over) == ("code", ("sql",))


def test_times_are_rfc_3339() -> None:
    assert written_time(0.5) == "1970-01-01T00:00:00.500Z"
