"""Which hosts and pages are let in: every way to write a name of this machine, and the ways to fake one."""

from __future__ import annotations

import pytest

from server.access.origins import HostRule, OriginRule, is_loopback

OURS = ("localhost", "localhost:8000", "LOCALHOST:1", "a.localhost:80", "127.0.0.1:8000", "127.9.9.9", "[::1]:8000")
FOREIGN = (
    *("evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "evillocalhost"),
    *("0.0.0.0:8000", "192.168.0.5", "[::2]", "localhost@evil.example", "evil.example@localhost", "localhost/x"),
    *("localhost:99999", "[::1", "127.1", "2130706433", "", " ", "localhost, evil.example"),
)


@pytest.mark.parametrize("host", OURS)
def test_loopback_is_answered(host: str) -> None:
    assert HostRule().allows(host)


@pytest.mark.parametrize("host", [*FOREIGN, None])
def test_a_name_that_others_could_point_here_is_not(host: str | None) -> None:
    assert not HostRule().allows(host)
    assert HostRule(is_checked=False).allows(host)  # where keys are asked for, a name gives nothing away


def test_names_of_the_configuration_and_beyond_loopback_addresses_are_answered() -> None:
    rule = HostRule(takes_addresses=True, names=("coe.local",))
    assert all(map(rule.allows, ("coe.local:8000", "COE.local", "192.168.0.5:8000", "[fd00::1]:8000", *OURS)))
    assert not rule.allows("evil.example")
    assert not HostRule(names=("coe.local",)).allows("192.168.0.5")


@pytest.mark.parametrize(
    ("origin", "host", "is_let_in"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1:8000", True),
        ("http://coe.local", "coe.local:80", True),
        ("https://coe.local", "coe.local", True),  # a proxy has ended TLS
        ("https://chat.example", "127.0.0.1:8000", True),
        ("https://CHAT.example", "127.0.0.1:8000", True),
        ("http://chat.example", "127.0.0.1:8000", False),
        ("https://chat.example:444", "127.0.0.1:8000", False),
        ("http://127.0.0.1:9000", "127.0.0.1:8000", False),
        ("http://localhost:8000", "127.0.0.1:8000", False),
        ("null", "127.0.0.1:8000", False),
        ("null", "null", False),
        ("", "127.0.0.1:8000", False),
        ("http://", "", False),
        ("file://", "127.0.0.1:8000", False),
        ("http://127.0.0.1:8000/x", "127.0.0.1:8000", False),
        ("http://evil@127.0.0.1:8000", "127.0.0.1:8000", False),
        ("http://127.0.0.1:8000, http://127.0.0.1:8000", "127.0.0.1:8000", False),
        ("http://127.0.0.1:8000", None, False),
    ],
)
def test_a_page_is_the_servers_own_or_is_allowed(origin: str, host: str | None, is_let_in: bool) -> None:
    assert OriginRule(("https://chat.example",)).allows(origin, host) == is_let_in


def test_every_page_is_let_in_where_that_is_said() -> None:
    assert OriginRule(("*",)).allows("http://evil.example", "127.0.0.1:8000")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
    ],
)
def test_loopback_addresses(address: str, expected: bool) -> None:
    assert is_loopback(address) == expected
