"""Requests that are wrong in a seeded way, and what a server may answer to them.

A case begins as a good request to one of the endpoints and is then damaged: a value of its JSON, its JSON text, its
headers, its framing, or its bytes. The same seed makes the same case.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from raw_http import connected

__all__ = ["Case", "Exchange", "case_of", "exchange"]

QUIET_S = 0.05  # an answer that is whole is not followed by another
TURN = {"role": "user", "content": "hello"}
GOOD: tuple[tuple[str, str, Any], ...] = (
    ("POST", "/v1/chat/completions", {"messages": [TURN], "max_tokens": 2}),
    (
        "POST",
        "/v1/chat/completions",
        {"model": "other", "messages": [{"role": "system", "content": "Be brief."}, TURN]},
    ),
    (
        "POST",
        "/v1/chat/completions",
        {"messages": [TURN], "max_tokens": 2, "stream": True, "n": 2, "logprobs": True, "top_logprobs": 2},
    ),
    ("POST", "/v1/completions", {"prompt": "hello", "max_tokens": 2, "echo": True, "logprobs": 1, "stop": ["x"]}),
    ("POST", "/v1/completions", {"prompt": "hello", "stream": True, "seed": 1, "logit_bias": {"5": 1}, "top_k": 3}),
    ("POST", "/v1/route", {"prompt": "hello"}),
    ("POST", "/v1/route", {"messages": [TURN], "model": "coe"}),
    ("POST", "/admin/experts/other/load", {}),
    ("POST", "/admin/experts/other/pin", {}),
    ("POST", "/admin/experts/other/unpin", {}),
    ("GET", "/admin/experts", None),
    ("GET", "/admin/store", None),
    ("GET", "/v1/models", None),
    ("GET", "/v1/models/other", None),
    ("GET", "/metrics", None),
    ("GET", "/ready", None),
    ("GET", "/openapi.json", None),
    ("GET", "/", None),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 128, 10**6, 2**31, 2**63, -(2**64), 10**400, 0.5, -0.0, 1e308, 1e-320),
    *("", "a", "coe", "other", "\ud83d", "\x00", "\u202e", "x" * 3000, "@other hi", "5", "null", "{}", "🙂" * 50),
    *([], [None], [[]], ["a"] * 5, [TURN] * 3, {}, {"a": 1}, {"5": 1}, {"type": "text"}, {"include_usage": True}),
    *([{"type": "text", "text": "hi"}], [{"type": "image_url"}], [{"type": "text"}], {"role": "user"}, [0] * 1000),
)
NAMES = (
    *("model", "messages", "prompt", "stream", "n", "max_tokens", "temperature", "top_p", "top_k", "stop", "seed"),
    *("tools", "logprobs", "top_logprobs", "logit_bias", "echo", "min_tokens", "ignore_eos", "stream_options"),
    *("best_of", "response_format", "max_token", "coe", "guided_json", "", "\ud83d", "role", "content"),
)
METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "BREW", "get", "P" * 300)
TARGETS = (
    *(
        "/",
        "//",
        "/v1",
        "/v1/",
        "/v1/chat/completions/",
        "/v1/models/%00",
        "/v1/models/%ff%fe",
        "/v1/models/..%2f..%2fx",
    ),
    *(
        "/v1/models/" + "x" * 2000,
        "/admin/experts/%ED%A0%BD/load",
        "/admin/experts/other/" + "y" * 200,
        "*",
        "http://x/",
    ),
    *("/admin/../admin/store", "/v1/route?a=" + "b" * 500, "/%2e%2e/%2e%2e/etc/passwd", "/health;x", "/openapi.json#x"),
)
HEADERS: tuple[tuple[str, str], ...] = (
    *(
        ("host", "evil.example"),
        ("host", ""),
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("origin", "\xff"),
    ),
    *(("content-type", "text/plain"), ("content-type", "\xe9"), ("content-encoding", "gzip"), ("x-request-id", "a b")),
    *(("x-request-id", "\xff" * 200), ("authorization", "Bearer \xff"), ("authorization", "Basic"), ("x-api-key", "")),
    *(("x-coe-conversation", "\xe9" * 300), ("range", "bytes=0-1"), ("expect", "100-continue"), ("expect", "tea")),
    *(("upgrade", "websocket"), ("connection", "upgrade"), ("te", "trailers"), ("content-length", "5")),
    *(("content-length", "-5"), ("content-length", "9" * 30), ("transfer-encoding", "chunked"), ("if-none-match", "*")),
    *(
        ("access-control-request-method", "POST"),
        ("forwarded", "for=x"),
        ("x-forwarded-for", "\xff"),
        ("x", "y" * 9000),
    ),
)


@dataclass(slots=True)
class Case:
    """A request in parts, until `pieces` makes bytes of it, which are sent one after another."""

    method: str
    target: str
    body: bytes
    headers: list[tuple[str, str]] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    pieces: list[bytes] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Exchange:
    """What came back: the statuses of all final answers, and everything as it came. `hung`: nothing ended it."""

    statuses: tuple[int, ...]
    received: bytes
    hung: bool


def case_of(seed: int) -> Case:
    """Return the case of a seed."""
    stream = random.Random(seed)
    method, target, body = stream.choice(GOOD)
    value = json.loads(json.dumps(body))
    damage: list[str] = []
    for _ in range(stream.randint(0, 3)):
        value, what = change(value, stream)
        damage.append(what)
    case = Case(method, target, b"" if body is None else json.dumps(value).encode(), damage=damage)
    case.headers = [("host", "localhost"), ("connection", "close"), ("content-type", "application/json")]
    for harm in stream.sample(HARMS, stream.choice((0, 0, 1, 1, 2))):
        case.damage.append(harm.__name__)
        harm(case, stream)
    case.pieces = framed(case, stream)
    if stream.random() < 0.25:
        case.damage.append("bytes")
        case.pieces = [damaged(piece, stream) for piece in case.pieces]
    return case


def change(value: Any, stream: random.Random) -> tuple[Any, str]:
    """Return a JSON value with one place in it changed, and where that was."""
    if isinstance(value, dict) and stream.random() < 0.85:
        name = stream.choice([*value, stream.choice(NAMES)])
        if name in value and stream.random() < 0.2:
            return {key: item for key, item in value.items() if key != name}, f"without {name}"
        inner, where = change(value.get(name), stream)
        return {**value, name: inner}, f"{name}.{where}"
    if isinstance(value, list) and value and stream.random() < 0.7:
        at = stream.randrange(len(value))
        inner, where = change(value[at], stream)
        return [*value[:at], inner, *value[at + 1 :]], f"{at}.{where}"
    chosen = stream.choice(VALUES)
    return chosen, repr(chosen)[:20]


def other_method(case: Case, stream: random.Random) -> None:
    case.method = stream.choice(METHODS)


def other_target(case: Case, stream: random.Random) -> None:
    case.target = stream.choice(TARGETS)


def other_headers(case: Case, stream: random.Random) -> None:
    for _ in range(stream.randint(1, 3)):
        case.headers.insert(stream.randint(0, len(case.headers)), stream.choice(HEADERS))


def without_a_header(case: Case, stream: random.Random) -> None:
    case.headers.pop(stream.randrange(len(case.headers)))


def other_json(case: Case, stream: random.Random) -> None:
    """Text that JSON has not, or that a parser could stumble over."""
    text = case.body or b"{}"
    case.body = stream.choice(
        (
            *(text[:-1], text + b"}", b"\xef\xbb\xbf" + text, text.decode().encode("utf-16"), b"\xff" + text, b""),
            *(b"[" * 5000, b'{"a":' * 5000, b"NaN", b"1" * 5000, b'"' + b"x" * 50_000 + b'"', b"\x00", b"null"),
            *(
                text.replace(b":", b":NaN,", 1),
                text.replace(b'"', b"'"),
                b'{"prompt": "a", "prompt": 5}',
                b"[]",
                b'"\\ud800"',
            ),
        )
    )


HARMS: tuple[Callable[[Case, random.Random], None], ...] = (
    *(other_method, other_target, other_headers, without_a_header, other_json),
)


def framed(case: Case, stream: random.Random) -> list[bytes]:
    """Return the request's bytes: with its length, with a wrong one, or in chunks; in one piece or several."""
    way = stream.random()
    headers, body = list(case.headers), case.body
    if way < 0.1:
        headers.append(("content-length", str(max(0, len(body) + stream.choice((-1, 1, -10, 1000))))))
        case.damage.append("wrong length")
    elif way < 0.2 and body:
        headers.append(("transfer-encoding", "chunked"))
        body = b"%x\r\n%s\r\n" % (len(body), body) + stream.choice(
            (b"0\r\n\r\n", b"0\r\nx: y\r\n\r\n", b"-1\r\n", b"zz\r\n", b"")
        )
        case.damage.append("chunks")
    else:
        headers.append(("content-length", str(len(body))))
    lines = [f"{case.method} {case.target} HTTP/1.1", *(f"{name}: {text}" for name, text in headers), "", ""]
    whole = "\r\n".join(lines).encode("latin-1", "replace") + body
    if stream.random() < 0.1:
        case.damage.append("twice")
        whole += whole
    if stream.random() < 0.2:
        at = stream.randint(0, len(whole))
        return [whole[:at], whole[at:]]
    return [whole]


def damaged(piece: bytes, stream: random.Random) -> bytes:
    """Return bytes with a few of them changed, taken out or put in."""
    found = bytearray(piece)
    for _ in range(stream.randint(1, 4)):
        at = stream.randint(0, max(0, min(len(found) - 1, 400)))
        action = stream.random()
        if action < 0.4 and found:
            found[at] = stream.randrange(256)
        elif action < 0.7:
            found[at:at] = stream.choice((b"\r\n", b"\x00", b" ", b":", b"\r\n\r\n", b"\xff\xfe"))
        else:
            del found[at : at + stream.randint(1, 20)]
    return bytes(found)


def exchange(url: str, case: Case, timeout_s: float = 20.0) -> Exchange:
    """Send a case and read what comes, until the server closes the connection or has answered and says no more.

    It hung if `timeout_s` goes by without a byte and without a whole answer.
    """
    received = bytearray()
    hung = False
    with connected(url, timeout_s) as client:
        try:
            for piece in case.pieces:
                client.sendall(piece)
            while piece := client.recv(1 << 16):
                received += piece
                client.settimeout(QUIET_S if is_whole(bytes(received)) else timeout_s)
        except TimeoutError:
            hung = not is_whole(bytes(received))
        except OSError:
            pass  # it has closed the connection while something came
    return Exchange(tuple(statuses_in(bytes(received))), bytes(received), hung)


def is_whole(received: bytes) -> bool:
    """Whether the last answer that has begun has its end."""
    head, _, body = received[received.rfind(b"HTTP/1.1 ") :].partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 1"):
        return False
    lengths = re.findall(rb"content-length: (\d+)", head)
    return len(body) >= int(lengths[0]) if lengths else body.endswith(b"0\r\n\r\n")


def statuses_in(received: bytes) -> list[int]:
    """Return the statuses of the final answers in what a connection has brought."""
    return [status for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", received) if (status := int(found)) >= 200]
