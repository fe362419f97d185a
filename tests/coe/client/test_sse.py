"""Lines become events as the standard says."""

from __future__ import annotations

from coe.client.sse import ServerEvent, SseReader


def events_in(*lines: str) -> list[ServerEvent]:
    reader = SseReader()
    return [event for line in lines if (event := reader.feed(line)) is not None]


def test_an_event_ends_with_an_empty_line_and_is_a_message_unless_it_has_a_name() -> None:
    assert events_in("event: load", "id: 7", "data: {}", "", "data: x", "") == [
        ServerEvent("load", "{}", "7"),
        ServerEvent("message", "x", "7"),
    ]


def test_lines_of_data_are_joined_and_one_blank_after_the_colon_is_not_data() -> None:
    assert events_in("data:a", "data:  b", "data", "") == [ServerEvent("message", "a\n b\n")]


def test_comments_other_fields_and_events_without_data_give_nothing() -> None:
    assert events_in(": keep-alive", "", "retry: 100", "", "event: load", "", "data: unfinished") == []


def test_an_id_with_a_null_is_no_id() -> None:
    reader = SseReader()
    for line in ("id: 1", "id: \0", ""):
        reader.feed(line)
    assert reader.last_id == "1"


def test_what_a_broken_connection_left_is_forgotten_and_the_last_whole_event_is_not() -> None:
    reader = SseReader()
    for line in ("id: 2", "data: whole", "", "event: load", "id: 3", "data: half"):
        reader.feed(line)
    reader.restart()
    assert reader.feed("") is None
    assert reader.last_id == "2"
