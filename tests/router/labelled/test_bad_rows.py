"""Bad rows are told in a few lines, however many there are."""

from __future__ import annotations

from router.labelled.bad_rows import BadRow, lines_about


def test_rows_are_counted_by_reason_with_the_first_three_and_their_details() -> None:
    rows = [BadRow(f"t:{number}", f"not JSON (at {number})") for number in range(1, 6)] + [BadRow("t:9", "no text")]
    assert lines_about(rows) == [
        "6 bad rows left out",
        "  5 x not JSON: t:1 (at 1), t:2 (at 2), t:3 (at 3), ...",
        "  1 x no text: t:9",
    ]
    assert lines_about([]) == ["no bad rows"]


def test_many_reasons_end_in_a_count_of_the_others() -> None:
    lines = lines_about([BadRow(f"t:{number}", f"reason {number}") for number in range(1000)])
    assert len(lines) == 10
    assert lines[-1] == "  992 x other reasons"
