"""`coe chat`: ask a running server line by line; below each answer stands who gave it and what the switch cost."""

from __future__ import annotations

import argparse
import time

from coe.cli.chat.session import AUTO, Session
from coe.cli.chat.summary import summary
from coe.cli.chat.terminal import Terminal
from coe.cli.server_url import add_url, url_of
from coe.client import ChatFields, Client, Stream
from coe.config.paths import cache_dir
from coe.errors import CoeError, ConfigError

__all__ = ["add_arguments", "run"]

HISTORY = "chat_history"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_url(parser, default=None)
    parser.add_argument("--expert", default=AUTO, help="who answers (default: auto, the router chooses)")
    parser.add_argument("--system", default="", help="the system prompt")
    parser.add_argument("--max-tokens", type=int, help="of an answer")
    parser.add_argument("--temperature", type=float, help="0 for the likeliest tokens")
    parser.add_argument("--no-history", action="store_true", help="neither read nor keep the lines that were typed")


def run(arguments: argparse.Namespace) -> int:
    """Talk until the input ends; 1 if it is a pipe and something was not answered."""
    terminal = Terminal(None if arguments.no_history else cache_dir() / HISTORY)
    given = {"max_tokens": arguments.max_tokens, "temperature": arguments.temperature}
    fields = ChatFields(**{name: value for name, value in given.items() if value is not None})  # type: ignore[typeddict-item]
    with Client(url_of(arguments.url, arguments.config)) as client:
        session = Session(
            client.models(),
            lambda messages, model: client.route(messages, model=model),
            expert=arguments.expert,
            system=arguments.system,
        )
        if not session.is_known:
            raise ConfigError(session.greeting)
        if terminal.is_interactive:
            terminal.note(session.greeting)
        return _Chat(client, session, terminal, fields).talk()


class _Chat:
    """A session, the server that answers it, and the terminal where it is seen."""

    def __init__(self, client: Client, session: Session, terminal: Terminal, fields: ChatFields) -> None:
        self._client, self._session, self._terminal, self._fields = client, session, terminal, fields
        self._num_failed = 0

    def talk(self) -> int:
        for line in self._terminal.lines(self._session.words):
            if not line.strip():
                continue
            try:
                if line.startswith("/") and not line.startswith("//"):
                    reply = self._session.command(line)
                    if reply.is_end:
                        break
                    self._terminal.note(reply.text)
                else:
                    self._ask(line[1:] if line.startswith("//") else line)
            except CoeError as error:
                self._num_failed += 1
                self._terminal.note(f"coe: {error}")
        return 1 if self._num_failed and not self._terminal.is_interactive else 0

    def _ask(self, prompt: str) -> None:
        """Show the answer as it comes; Ctrl-C ends the answer, and the program goes on."""
        said: list[str] = []
        messages = self._session.messages(prompt)
        with self._client.stream(messages, model=self._session.model, **self._fields) as stream:
            try:
                decode_s = self._show(stream, said)
            except KeyboardInterrupt:
                self._session.take_stopped(prompt, "".join(said))
                self._terminal.write("\n")
                self._terminal.note("stopped")
                return
            except CoeError:
                self._terminal.write("\n" if said else "")
                raise
        self._terminal.write("\n")
        self._session.take(prompt, stream.answer)
        self._terminal.note(summary(stream.answer, decode_s))

    def _show(self, stream: Stream, said: list[str]) -> float:
        """Write the pieces and keep those of the answer in `said`; returns the seconds from the first to the last."""
        first_s = last_s = time.monotonic()
        is_thinking = is_begun = False
        for delta in stream.deltas():
            last_s = time.monotonic()
            first_s, is_begun = (first_s, True) if is_begun else (last_s, True)
            if delta.reasoning:
                self._terminal.write(delta.reasoning, is_aside=True)
            elif is_thinking and delta.text:
                self._terminal.write("\n\n", is_aside=True)
            is_thinking = bool(delta.reasoning)
            said.append(delta.text)
            self._terminal.write(delta.text)
        return last_s - first_s
