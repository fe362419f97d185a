"""What has been said so far, to whom, and the commands that a line may be, which begin with /.

Knows nothing about terminals and connections: it is handed what asks the router.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from coe.cli.decision_text import decision_lines
from coe.client import Answer
from coe.errors import nearest
from coe.types import Decision

__all__ = ["COMMANDS", "Reply", "Session"]

COMPOSITION = "coe"
AUTO = "auto"
COMMANDS = {
    "/expert": "NAME|auto: who answers from now on; auto lets the router choose",
    "/why": "why the last answer came from its expert",
    "/system": "TEXT: the system prompt, for all turns; without a text there is none",
    "/clear": "forget the conversation",
    "/help": "these commands; a line that begins with // is a prompt that begins with /",
    "/quit": "end, as Ctrl-D does; Ctrl-C stops an answer",
}
Turn = dict[str, Any]
Route = Callable[[Sequence[Turn], str], Decision]


class Reply(NamedTuple):
    """What a command says; `is_end` after the last one."""

    text: str
    is_end: bool = False


class Session:
    """A conversation. `model` is who answers: an expert's name, or "coe"."""

    def __init__(self, models: Sequence[str], route: Route, *, expert: str = AUTO, system: str = "") -> None:
        self.model = COMPOSITION
        self.is_known = True  # whether the expert that was asked for at the start is one
        self._experts = [name for name in models if name != COMPOSITION]
        self._route, self._system = route, system
        self._turns: list[Turn] = []
        self._asked: list[Turn] = []  # what the last answer answered
        self._last: Answer | None = None
        self.greeting = self._choose(expert) if expert != AUTO else f"{len(self._experts)} experts; /help for commands"

    @property
    def words(self) -> tuple[str, ...]:
        """What a line may be completed to."""
        return (*COMMANDS, *(f"/expert {name}" for name in [AUTO, *self._experts]))

    def messages(self, prompt: str) -> list[Turn]:
        """Return the conversation with a new turn of the user's, which is not part of it yet."""
        system = [{"role": "system", "content": self._system}] if self._system else []
        return [*system, *self._turns, {"role": "user", "content": prompt}]

    def take(self, prompt: str, answer: Answer) -> None:
        """Add a turn and its answer."""
        self._asked, self._last = self.messages(prompt), answer
        self._add(prompt, answer.text)

    def take_stopped(self, prompt: str, text: str) -> None:
        """Add a turn whose answer was stopped after this text; without any text neither was said."""
        if text:
            self._add(prompt, text)

    def command(self, line: str) -> Reply:
        """Do what a line that begins with / says."""
        word, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        match word:
            case "/expert":
                return Reply(self._choose(rest) if rest else f"{self.model}; there are {', '.join(self._experts)}")
            case "/why":
                return Reply(self._why())
            case "/system":
                self._system = rest
                return Reply("the system prompt is set" if rest else "there is no system prompt")
            case "/clear":
                self._turns, self._asked, self._last = [], [], None
                return Reply("the conversation is forgotten")
            case "/help":
                return Reply("\n".join(f"{name:8} {text}" for name, text in COMMANDS.items()))
            case "/quit":
                return Reply("", is_end=True)
        return Reply(f"there is no command {word!r}; {nearest(word, COMMANDS, 'commands')}")

    def _add(self, prompt: str, text: str) -> None:
        self._turns += [{"role": "user", "content": prompt}, {"role": "assistant", "content": text}]

    def _choose(self, name: str) -> str:
        if name.lower() in (AUTO, COMPOSITION):
            self.model = COMPOSITION
            return "the router chooses"
        named = {expert.lower(): expert for expert in self._experts}
        if name.lower() not in named:
            self.is_known = False
            return f"there is no expert {name!r}; {nearest(name, self._experts, 'the experts are')}"
        self.model = named[name.lower()]
        return f"{self.model} answers"

    def _why(self) -> str:
        if self._last is None:
            return "nothing is answered yet"
        decision = self._last.decision
        if not decision.because:  # the server leaves explanations out of its answers
            decision = self._route(self._asked, self.model)
        return "\n".join(decision_lines(decision))
