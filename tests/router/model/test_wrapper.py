"""Agents' wrappers come off; XML that is asked about stays."""

from __future__ import annotations

import pytest

from router.model.wrapper import REQUEST, unwrapped

SKY = "why is the sky blue?"
DETAILS = "<environment_details>\n# VSCode Visible Files\nsrc/app.py\n\n# Current Mode\nACT\n</environment_details>"


@pytest.mark.parametrize(
    "text",
    [
        SKY,
        f"<task>\n{SKY}\n</task>",
        f"<task>{SKY}</task>\n\n{DETAILS}",
        f"{DETAILS}\n{SKY}",
        f"{SKY}\n<system-reminder>be brief</system-reminder>",
        f'<user_query source="chat">{SKY}</user_query>',
        f"<system-reminder>a</system-reminder>\n<env>b</env>\n<query>{SKY}</query>\n{DETAILS}",
    ],
)
def test_wrappers_come_off(text: str) -> None:
    assert unwrapped(text) == SKY


@pytest.mark.parametrize(
    "text",
    [
        "<task>a</task>\n<task>b</task>\nwhy does this not parse?",
        "What does <query>x</query> mean in this file?",
        "<task>never closed",
        "<tasks><task>a</task></tasks>",
        "</task><task>",
        "a < b and b > c",
        DETAILS,
        "<task></task>",
        "",
        "   ",
    ],
)
def test_everything_else_stays(text: str) -> None:
    assert unwrapped(text).strip() == text.strip()


def test_hostile_text_takes_no_time() -> None:
    """Backtracking over it would take hours, and the test's time would be up."""
    for name in (*REQUEST, "environment_details"):
        text = f"<{name}>" * 200_000
        assert unwrapped(text) == text
    nested = "<env>" * 100_000 + "</env>" * 100_000
    assert "env" in unwrapped(nested)
