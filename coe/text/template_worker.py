"""The process that renders chat templates: jobs in on a socket, rendered texts out, one after another.

Run as a script by rendering.py, which shares nothing with it but how values are framed. A template may loop for ever
or ask for gigabytes in one call, which nothing in its own process can stop. So the kernel holds the limits: a timer of
processor time per job, whose signal ends the process, and an address space in which large allocations fail. The process
ends when its socket closes, that is with its parent. transformers renders, in its own sandbox: the texts are its own.

A message is its length (four bytes, big-endian) and JSON. A job has `template`, `messages`, `variables` (tools among
them, and how the text ends: by default where an answer begins), `cpu_limit_s` and `max_chars`; the answer is [outcome,
text], where the outcome is "rendered", "refused" (the template raised), "too long" or "out of memory".
"""

from __future__ import annotations

import json
import resource
import signal
import socket
import struct
import sys
from contextlib import suppress
from typing import Any

ADDRESS_SPACE_BYTES = 768 << 20  # with the libraries' 150 MB
MAX_REASON_CHARS = 500


def serve(jobs: socket.socket) -> None:
    """Answer jobs until the socket closes."""
    from transformers.utils.chat_template_utils import render_jinja_template

    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while (job := receive(jobs)) is not None:
        signal.setitimer(signal.ITIMER_PROF, job["cpu_limit_s"])  # SIGPROF ends the process
        answer = outcome_of(render_jinja_template, job)
        signal.setitimer(signal.ITIMER_PROF, 0)
        send(jobs, answer)


def outcome_of(render: Any, job: Any) -> tuple[str, str]:
    try:
        given = {"add_generation_prompt": True, **job["variables"]}
        (text,), _ = render([job["messages"]], chat_template=job["template"], **given)
    except MemoryError:
        return "out of memory", ""
    except Exception as error:  # templates raise anything: TemplateError, TypeError, RecursionError …
        return "refused", str(error)[:MAX_REASON_CHARS]
    return ("rendered", text) if len(text) <= job["max_chars"] else ("too long", str(len(text)))


def send(to: socket.socket, value: Any) -> None:
    data = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")  # lone surrogates have no bytes
    to.sendall(struct.pack(">I", len(data)) + data)


def receive(source: socket.socket) -> Any:
    """Return the next value, None where the other end has closed."""
    head = read(source, 4)
    data = read(source, struct.unpack(">I", head)[0]) if head else None
    return json.loads(data) if data else None


def read(source: socket.socket, size: int) -> bytearray | None:
    data = bytearray(size)
    view, start = memoryview(data), 0
    while start < size:
        count = source.recv_into(view[start:])
        if not count:
            return None
        start += count
    return data


if __name__ == "__main__":
    with suppress(BrokenPipeError, ConnectionResetError, KeyboardInterrupt):  # the parent has gone
        serve(socket.socket(fileno=sys.stdin.fileno()))
