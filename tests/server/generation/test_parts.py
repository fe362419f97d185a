"""An answer's parts: in the order in which they came, the same whole as step by step."""

from __future__ import annotations

from coe.types import CallDelta, Delta, TokenLogprob
from server.generation.parts import Parts, Step

TOKEN = TokenLogprob(1, "a", b"a", -1.0)
DELTAS = (
    Delta("", (1,), thinking="let "),
    Delta("", (2,)),  # a character that is not whole yet
    Delta("a", (3,), thinking="me", logprobs=(TOKEN,)),
    Delta("b", (4,), logprobs=(TOKEN,)),
    Delta("", (), calls=(CallDelta(0, "call_1", "f"),)),
    Delta("", (), calls=(CallDelta(0, arguments="{}"),)),
    Delta("", (), calls=(CallDelta(1, "call_2", "g"),)),
    Delta("", (), calls=(CallDelta(1, arguments='{"x": 1}'),)),
    Delta("c", (5,)),
)


def steps() -> tuple[Parts, list[Step]]:
    parts, taken = Parts(), list[Step]()
    for delta in DELTAS:
        taken += parts.take(delta)
    return parts, [*taken, *parts.end(), *parts.end()]


def test_parts_come_in_their_order() -> None:
    parts, _ = steps()
    assert [(part.kind, part.text, part.name) for part in parts.parts] == [
        ("thinking", "let me", ""),
        ("text", "ab", ""),
        ("call", "{}", "f"),
        ("call", '{"x": 1}', "g"),
        ("text", "c", ""),
    ]
    assert [part.index for part in parts.parts] == [0, 1, 2, 3, 4]
    assert len(parts.parts[1].tokens) == 2


def test_steps_say_what_the_parts_are() -> None:
    parts, taken = steps()
    for part in parts.parts:
        own = [step for step in taken if step.part is part]
        assert [own[0].what, own[-1].what] == ["began", "ended"]
        assert {step.what for step in own[1:-1]} == {"grew"}
        assert "".join(step.text for step in own) == part.text
        assert [token for step in own for token in step.tokens] == part.tokens
    open_parts = 0
    for step in taken:
        open_parts += {"began": 1, "grew": 0, "ended": -1}[step.what]
        assert open_parts in (0, 1)
    assert open_parts == 0
