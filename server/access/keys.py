"""API keys: a file of names and hashes, and whose key a request brings.

A key is 256 random bits, so that a plain SHA-256 cannot be turned back: a slow hash (scrypt) protects what people
choose, and would cost every request what it costs an attacker. Knows nothing about HTTP.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from coe.config.toml_fields import Reader, boolean, read_table, text, whole
from coe.errors import ConfigError
from server.access.limits import Limits

__all__ = ["Key", "KeyRing", "NewKey", "digest_of", "entry_of", "new_key", "parse_keys", "read_keys"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def _sha256(value: Any, _folder: Path) -> str:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise ValueError("not a SHA-256 in lower-case hex; `coe keys add NAME` writes one")
    return value


_READERS: Mapping[str, Reader] = {
    "sha256": _sha256,
    "admin": boolean,
    "max_concurrent": whole(1),
    "requests_per_minute": whole(1),
    "tokens_per_minute": whole(1),
    "share_prefixes": text,
}


@dataclass(frozen=True, slots=True)
class Key:
    """One key: its name, the SHA-256 of its secret, what it may do and use.

    Keys with the same `share_prefixes` may see each other's KV prefixes; None: nobody else's.
    """

    name: str
    sha256: str
    is_admin: bool = False
    limits: Limits = field(default_factory=Limits)
    share_prefixes: str | None = None


class NewKey(NamedTuple):
    """A key that was just made: the secret, which is nowhere else, and the hash that the server knows it by."""

    secret: str
    sha256: str


class KeyRing:
    """All keys of a server."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self.keys = tuple(keys)

    def find(self, secret: str) -> Key | None:
        """Return the key with this secret. The time it takes depends on the number of keys alone."""
        digest, found = digest_of(secret), None
        for key in self.keys:
            if hmac.compare_digest(key.sha256, digest):
                found = key
        return found


def digest_of(secret: str) -> str:
    """Return the SHA-256 of a key's secret in hex."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def new_key() -> NewKey:
    """Return a secret of 256 random bits and its hash."""
    secret = f"coe-{secrets.token_urlsafe(32)}"
    return NewKey(secret, digest_of(secret))


def entry_of(name: str, sha256: str, *, is_admin: bool) -> str:
    """Return a key as the file has it; raises ConfigError for a name that the file cannot have."""
    if not _NAME.fullmatch(name):
        raise ConfigError(f"key '{name}': letters, digits, '.', '_' and '-' only, a letter or digit first")
    return f'["{name}"]\nsha256 = "{sha256}"\n' + ("admin = true\n" if is_admin else "")


def read_keys(file: Path, defaults: Key) -> tuple[Key, ...]:
    """Return the keys in a file; raises ConfigError with every problem found in it."""
    try:
        return parse_keys(file.read_text(encoding="utf-8"), str(file), defaults)
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file; `coe keys add NAME` makes it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read ({error}); make it a readable file of UTF-8") from error


def parse_keys(toml: str, where: str, defaults: Key) -> tuple[Key, ...]:
    """Return the keys in a TOML text, a table each; `defaults` has what a key does not say itself.

    Raises ConfigError, in the name of `where`, with every problem.
    """
    try:
        raw = tomllib.loads(toml)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not TOML: {error}; correct that place") from error
    keys: dict[str, Key] = {}
    problems: list[str] = []
    for name, value in raw.items():
        table = read_table({"sha256": value} if isinstance(value, str) else value, f"[{name}]", _READERS, Path())
        found = table.problems or _conflicts(name, table.value.get("sha256"), keys.values())
        problems += found
        if not found:
            keys[name] = _key(name, table.value, defaults)
    if problems:
        heading = f"{where}: {len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise ConfigError("\n  ".join([heading, *problems]))
    return tuple(keys.values())


def _conflicts(name: str, sha256: str | None, others: Iterable[Key]) -> tuple[str, ...]:
    if not _NAME.fullmatch(name):
        return (f"[{name}]: letters, digits, '.', '_' and '-' only, a letter or digit first",)
    if sha256 is None:
        return (f"[{name}] has no sha256; `coe keys add NAME` writes one",)
    same = [key.name for key in others if key.sha256 == sha256]
    return tuple(f"[{name}] has the sha256 of [{other}]; `coe keys add` makes a key of its own" for other in same)


def _key(name: str, table: Mapping[str, Any], defaults: Key) -> Key:
    said = {item.name: table.get(item.name, getattr(defaults.limits, item.name)) for item in fields(Limits)}
    group = table.get("share_prefixes", defaults.share_prefixes)
    return Key(name, table["sha256"], bool(table.get("admin")), Limits(**said), group)
