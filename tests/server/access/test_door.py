"""The door: which keys open what, and which servers do not start."""

from __future__ import annotations

from pathlib import Path

import pytest

from coe.config.schema import AccessConfig
from coe.errors import AuthenticationError, ConfigError, ContentTypeError, PermissionDeniedError
from server.access.door import Asked, Door, build_door
from server.access.keys import digest_of

KEYS = f"""
alice = "{digest_of("alice's")}"
[bob]
sha256 = "{digest_of("bob's")}"
share_prefixes = "team"
[carol]
sha256 = "{digest_of("carol's")}"
share_prefixes = "team"
[ops]
sha256 = "{digest_of("ops'")}"
admin = true
"""
CHAT = "/v1/chat/completions"


@pytest.fixture
def door() -> Door:
    return build_door(AccessConfig(), "0.0.0.0", {"COE_KEYS": KEYS})


def asked(path: str = CHAT, method: str = "POST", **headers: str) -> Asked:
    return Asked(method, path, {name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer alice's"},
        {"authorization": "bearer  alice's "},
        {"x_api_key": "alice's"},
        {"authorization": "Basic YTpi", "x_api_key": "alice's"},
    ],
)
def test_a_key_is_read_from_either_header(door: Door, headers: dict[str, str]) -> None:
    assert door.admit(asked(**headers)).owner == "alice"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": "alice's"},
        {"authorization": "Basic alice's"},
        {"authorization": "Bearer alice"},
        {"authorization": "Bearer alice's, Bearer alice's"},
        {"authorization": f"Bearer {digest_of('x')}"},
        {"authorization": "Bearer nobody's", "x_api_key": "alice's"},
    ],
)
def test_any_other_is_asked_for_one(door: Door, headers: dict[str, str]) -> None:
    with pytest.raises(AuthenticationError, match="no API key"):
        door.admit(asked(**headers))


@pytest.mark.parametrize("path", ["/admin", "/admin/experts", "/admin/experts/x/pin", "/admin/whatever", "/metrics"])
def test_what_is_the_operators_needs_an_operators_key(door: Door, path: str) -> None:
    assert door.admit(asked(path, "GET", authorization="Bearer ops'")).is_admin
    with pytest.raises(PermissionDeniedError, match="operator"):
        door.admit(asked(path, "GET", authorization="Bearer alice's"))
    with pytest.raises(AuthenticationError):
        door.admit(asked(path, "GET"))


@pytest.mark.parametrize("path", ["/", "/health", "/ready", "/openapi.json"])
def test_what_everybody_may_ask_needs_none(door: Door, path: str) -> None:
    stranger = door.admit(asked(path, "GET"))
    assert (stranger.owner, stranger.is_admin, stranger.allowance) == ("", False, None)
    assert door.admit(asked(path, "GET", authorization="Bearer ops'")).is_admin


@pytest.mark.parametrize("path", ["/v1/models", "/v1/whatever", "/docs", "/metricsx", "//health", "/health/"])
def test_all_else_needs_one(door: Door, path: str) -> None:
    with pytest.raises(AuthenticationError):
        door.admit(asked(path, "GET"))


def test_keys_share_prefixes_within_their_group_alone(door: Door) -> None:
    alice, bob, carol = (door.admit(asked(authorization=f"Bearer {name}'s")) for name in ("alice", "bob", "carol"))
    assert bob.prefix_group == carol.prefix_group != alice.prefix_group
    assert len({alice.owner, bob.owner, carol.owner}) == 3


def test_a_page_must_be_the_servers_own_and_send_json(door: Door) -> None:
    key, own = {"authorization": "Bearer ops'", "host": "coe.local"}, "http://coe.local"
    for good in ("application/json", "application/json; charset=utf-8", "Application/JSON", "application/x+json"):
        door.admit(asked(origin=own, content_type=good, **key))
    for bad in ("", "text/plain", "application/x-www-form-urlencoded", "text/plain; application/json", "text/json"):
        with pytest.raises(ContentTypeError):
            door.admit(asked(origin=own, content_type=bad, **key))
    for method, path in (("POST", CHAT), ("DELETE", "/v1/x"), ("GET", "/admin/experts"), ("POST", "/health")):
        with pytest.raises(PermissionDeniedError, match="evil"):
            door.admit(asked(path, method, origin="http://evil.example", content_type="application/json", **key))
    door.admit(asked("/v1/models", "GET", origin="http://evil.example", **key))  # its answer is not shown to the page


def test_on_loopback_the_host_is_checked_with_keys_too() -> None:
    config = AccessConfig(allowed_hosts=("coe.example",))
    door = build_door(config, "127.0.0.1", {"COE_KEYS": KEYS})
    for host in ("localhost:8000", "coe.example"):
        assert door.admit(asked(host=host, authorization="Bearer alice's")).owner == "alice"
    with pytest.raises(PermissionDeniedError, match="allowed_hosts"):
        door.admit(asked(host="evil.example", authorization="Bearer alice's"))


def test_without_keys_the_host_is_checked_and_whoever_comes_may_do_everything() -> None:
    door = build_door(AccessConfig(), "127.0.0.1", {})
    assert door.admit(asked("/admin/experts", host="localhost:8000", authorization="Bearer anything")).is_admin
    for path in (CHAT, "/admin/experts", "/", "/health"):
        with pytest.raises(PermissionDeniedError, match="allowed_hosts"):
            door.admit(asked(path, "GET", host="evil.example"))


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "10.0.0.1"])
def test_a_server_that_others_reach_does_not_start_without_keys_unless_that_is_said(address: str) -> None:
    with pytest.raises(ConfigError, match=r"coe keys add.*--open"):
        build_door(AccessConfig(), address, {})
    for door in (
        build_door(AccessConfig(open=True), address, {}),
        build_door(AccessConfig(), address, {}, is_open=True),
    ):
        assert door.admit(asked("/admin/experts", host="10.0.0.1:8000")).is_admin
        with pytest.raises(PermissionDeniedError):
            door.admit(asked(host="evil.example"))


def test_contradictions_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    file.write_text(KEYS)
    with pytest.raises(ConfigError, match="--open"):
        build_door(AccessConfig(), "0.0.0.0", {"COE_KEYS": KEYS}, is_open=True)
    with pytest.raises(ConfigError, match="COE_KEYS"):
        build_door(AccessConfig(keys=file), "127.0.0.1", {"COE_KEYS": KEYS})
    with pytest.raises(ConfigError, match="allowed_origins"):
        build_door(AccessConfig(allowed_origins=("*",)), "127.0.0.1", {})
    file.write_text("")
    with pytest.raises(ConfigError, match="there is no key"):
        build_door(AccessConfig(keys=file), "127.0.0.1", {})


def test_the_start_says_who_may_ask(door: Door) -> None:
    assert str(door) == "by key: alice, bob, carol, ops (admin)"
    assert "anybody" in str(build_door(AccessConfig(open=True), "0.0.0.0", {}))
