"""A whole answer as bytes and back."""

from __future__ import annotations

from coe.answers.kept_answer import Recording, events_of
from coe.types import Delta, Finished, FinishReason, PromptScored, Switch, SwitchKind, TokenLogprob, Usage

SWITCH = Switch(SwitchKind.DEVICE_HIT, 0, 0.0, 0.0, 0.0)
TOKEN = TokenLogprob(7, "\ufffd", b"\xe2\x82", -0.1234567890123456, (TokenLogprob(8, "é", "é".encode(), -1e-30),))


def test_an_answer_comes_back_as_it_was() -> None:
    recording = Recording(2)
    first = TokenLogprob(1, "a", b"a", None)
    for event in (
        PromptScored((first,), 1),
        Delta("one ", (1, 2), 0, (TOKEN,)),
        Delta("x", (3,), 1),
        Delta("two", (4,), 0, (TOKEN,)),
        Finished(FinishReason.STOP, Usage(5, 3, 2), SWITCH, 0, "END"),
        Finished(FinishReason.LENGTH, Usage(5, 1, 4), SWITCH, 1),
    ):
        recording.take(event)
    payload = recording.payload()
    assert payload is not None
    assert list(events_of(payload, 5, SWITCH)) == [
        Delta("one two", (), 0, (TOKEN, TOKEN)),
        Finished(FinishReason.STOP, Usage(5, 3, 5), SWITCH, 0, "END"),
        PromptScored((first,), 1),
        Delta("x", (), 1),
        Finished(FinishReason.LENGTH, Usage(5, 1, 5), SWITCH, 1),
    ]


def test_an_answer_of_which_a_choice_has_no_end_is_none() -> None:
    recording = Recording(2)
    recording.take(Delta("a", (1,)))
    recording.take(Finished(FinishReason.STOP, Usage(1, 1), SWITCH, 0))
    assert recording.payload() is None
