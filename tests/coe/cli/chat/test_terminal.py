"""What a model says cannot command the terminal; over a pipe it passes as it is."""

from __future__ import annotations

import io
import sys

import pytest

from coe.cli.chat.terminal import Terminal


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_control_characters_do_not_reach_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for screen, shown in ((Screen(), "a\ufffd[2Jb\n\tä"), (io.StringIO(), "a\x1b[2Jb\n\tä")):
        monkeypatch.setattr(sys, "stdout", screen)
        Terminal().write("a\x1b[2Jb\n\tä")
        assert screen.getvalue() == shown


def test_thoughts_are_shown_to_people_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for stdin, shown in ((Screen(), "\033[2mhm\033[0m"), (io.StringIO(), "")):
        screen = Screen()
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys, "stdout", screen)
        Terminal().write("hm", is_aside=True)
        assert screen.getvalue() == shown


def test_a_pipes_lines_come_without_their_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("a\n\nb"))
    assert list(Terminal().lines(())) == ["a", "", "b"]
