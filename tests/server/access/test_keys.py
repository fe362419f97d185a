"""A file of keys: names and hashes, every problem at once, and whose secret is whose."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from console import coe

from coe.errors import ConfigError
from server.access.keys import Key, KeyRing, digest_of, entry_of, new_key, parse_keys, read_keys
from server.access.limits import Limits

NOTHING = Key("", "")
HASH = digest_of("secret")


def test_a_key_is_found_by_its_secret_alone() -> None:
    alice, bob = new_key(), new_key()
    ring = KeyRing([Key("alice", alice.sha256), Key("bob", bob.sha256, is_admin=True)])
    assert ring.find(bob.secret) == Key("bob", bob.sha256, is_admin=True)
    for wrong in ("", "alice", alice.sha256, alice.secret[:-1], alice.secret + " ", "\ud83d"):
        assert ring.find(wrong) is None


def test_what_a_key_does_not_say_is_the_defaults() -> None:
    defaults = Key("", "", limits=Limits(4, 60, None), share_prefixes="all")
    text = f'short = "{HASH}"\n[full]\nsha256 = "{digest_of("b")}"\nadmin = true\nrequests_per_minute = 5\n'
    assert parse_keys(text, "file", defaults) == (
        Key("short", HASH, limits=Limits(4, 60, None), share_prefixes="all"),
        Key("full", digest_of("b"), True, Limits(4, 5, None), "all"),
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[a", "not TOML"),
        ("a = 5", "[a] = 5: not a table"),
        ("[a]\nadmin = true", "[a] has no sha256"),
        ('a = "secret"', "not a SHA-256"),
        (f'a = "{HASH}"\nb = "{HASH}"', "[b] has the sha256 of [a]"),
        (f'[a]\nsha256 = "{HASH}"\nrequest_per_minute = 5', "did you mean 'requests_per_minute'?"),
        (f'"a key" = "{HASH}"', "[a key]: letters, digits"),
        (f'[a]\nsha256 = "{HASH}"\nmax_concurrent = 0', "out of range"),
    ],
)
def test_what_is_wrong_is_said_by_name(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_keys(text, "keys.toml", NOTHING)
    assert "keys.toml" in str(caught.value)
    assert problem in str(caught.value)


def test_a_file_that_is_not_there_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="coe keys add"):
        read_keys(tmp_path / "keys.toml", NOTHING)


def test_the_command_prints_the_secret_once_and_writes_only_its_hash(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    file.write_text("# ours\n")
    alice = coe("keys", "add", "alice", "--file", str(file)).stdout.strip()
    operator = coe("keys", "add", "ops", "--admin", "--file", str(file)).stdout.strip()
    ring = KeyRing(read_keys(file, NOTHING))
    assert ring.find(alice) == Key("alice", digest_of(alice))
    assert ring.find(operator) == Key("ops", digest_of(operator), is_admin=True)
    assert alice not in file.read_text()
    assert "# ours" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = coe("keys", "add", "alice", "--file", str(file))
    assert (again.returncode, again.stdout) == (2, "")
    assert len(read_keys(file, NOTHING)) == 2


def test_an_entry_reads_back_and_a_name_that_is_none_is_refused() -> None:
    assert parse_keys(entry_of("a.b", HASH, is_admin=True), "file", NOTHING) == (Key("a.b", HASH, True),)
    with pytest.raises(ConfigError, match="letters, digits"):
        entry_of("a\nb", HASH, is_admin=False)
