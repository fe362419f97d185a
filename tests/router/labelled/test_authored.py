"""Authored prompts: plain lines as they are, templates filled the same way every time."""

from __future__ import annotations

from router.labelled.authored import PLAIN_FAMILY, TEMPLATE_FAMILY, authored_prompts, fillings


def test_plain_lines_are_taken_as_they_are() -> None:
    texts = [prompt.text for prompt in authored_prompts() if prompt.family == PLAIN_FAMILY]
    assert len(texts) > 2000
    assert any("\n" in text for text in texts)


def test_authored_prompts_are_many_distinct_and_the_same_every_time() -> None:
    prompts = authored_prompts()
    assert prompts == authored_prompts()
    assert len({prompt.text for prompt in prompts}) > 0.99 * len(prompts)
    assert not [prompt.text for prompt in prompts if prompt.family == TEMPLATE_FAMILY and "{{" in prompt.text]


def test_a_line_with_slots_is_filled_differently_each_time() -> None:
    assert set(fillings("((a|b)) c", 20)) == {"a c", "b c"}
    assert fillings("plain\\nline", 5) == ["plain\nline"]
