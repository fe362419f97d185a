"""The door: what a request must bring to be let in, by its path, method and headers.

Raises AuthenticationError (no key, or an unknown one) or PermissionDeniedError (a foreign page, a foreign host, a key
that is no operator's). Pure but for the allowances of the callers, which it keeps. Knows nothing about ASGI.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from coe.config.schema import AccessConfig
from coe.errors import AuthenticationError, ConfigError, ContentTypeError, PermissionDeniedError, shown
from server.access.caller import ANYBODY, Caller
from server.access.keys import Key, KeyRing, parse_keys, read_keys
from server.access.limits import Allowance, Limits
from server.access.origins import ANY, HostRule, OriginRule, is_loopback

__all__ = ["ENVIRONMENT", "Asked", "Door", "build_door"]

ENVIRONMENT = "COE_KEYS"  # keys as the file has them, where there is no file
FOR_EVERYBODY = {"/", "/health", "/ready", "/openapi.json"}
PAGE_FILES = "/page/"  # scripts and styles that everybody has who has coe
FOR_ADMINS = {"/metrics"}
READING = {"GET", "HEAD", "OPTIONS"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What the door looks at; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]

    @property
    def is_admins(self) -> bool:
        return self.path in FOR_ADMINS or self.path == "/admin" or self.path.startswith("/admin/")

    @property
    def changes_something(self) -> bool:
        return self.method not in READING


class Door:
    """Lets requests in. `keys` None: no key is asked for, and whoever comes may do everything."""

    def __init__(self, keys: KeyRing | None, hosts: HostRule, origins: OriginRule, defaults: Key) -> None:
        self._keys, self._hosts, self.origins = keys, hosts, origins
        now_s = time.monotonic()
        self._anybody = _caller(defaults, now_s)
        self._callers = {key.name: _caller(key, now_s) for key in (keys.keys if keys else ())}

    def __str__(self) -> str:
        if self._keys is not None:
            return (
                f"by key: {', '.join(f'{key.name} (admin)' if key.is_admin else key.name for key in self._keys.keys)}"
            )
        return "to anybody who reaches the port" if self._hosts.takes_addresses else "to this machine, without keys"

    def admit(self, asked: Asked) -> Caller:
        """Return who asks; raises what the module's docstring says, and ContentTypeError for a page's body."""
        self._check_host(asked)
        self._check_origin(asked)
        caller = self._identify(asked)
        if caller is not None:
            if asked.is_admins and not caller.is_admin:
                raise PermissionDeniedError("this is an operator's; ask with a key that has admin = true")
            return caller
        if asked.path in FOR_EVERYBODY or asked.path.startswith(PAGE_FILES):
            return ANYBODY
        raise AuthenticationError(
            "no API key that this server knows; send it as `Authorization: Bearer KEY` (`coe keys add NAME` makes one)"
        )

    def check_preflight(self, asked: Asked) -> None:
        """Raise PermissionDeniedError where the page that a browser asks for may not send its request."""
        self._check_host(asked)
        self._check_page(asked)

    def _check_host(self, asked: Asked) -> None:
        host = asked.headers.get("host")
        if not self._hosts.allows(host):
            raise PermissionDeniedError(
                f"host {shown(host)} is no name of this server; ask localhost, or add it to [access] allowed_hosts"
            )

    def _check_origin(self, asked: Asked) -> None:
        if "origin" not in asked.headers or not (asked.changes_something or asked.is_admins):
            return
        self._check_page(asked)
        if asked.changes_something and not _is_json(asked.headers.get("content-type", "")):
            raise ContentTypeError("a web page must send content-type: application/json")

    def _check_page(self, asked: Asked) -> None:
        origin = asked.headers.get("origin", "")
        if not self.origins.allows(origin, asked.headers.get("host")):
            raise PermissionDeniedError(
                f"pages of {shown(origin)} may not ask this server; add the origin to [access] allowed_origins"
            )

    def _identify(self, asked: Asked) -> Caller | None:
        if self._keys is None:
            return self._anybody
        secret = _secret_in(asked.headers)
        key = self._keys.find(secret) if secret else None
        return self._callers[key.name] if key else None


def build_door(config: AccessConfig, address: str, environment: Mapping[str, str], *, is_open: bool = False) -> Door:
    """Return the door of a server that listens on an IP address.

    Raises ConfigError for keys that cannot be used, and for an address that others can reach where nobody asks for
    keys and nobody has said (`is_open`, or `[access] open`) that this is meant.
    """
    is_open = is_open or config.open
    limits = Limits(config.max_concurrent, config.requests_per_minute, config.tokens_per_minute)
    defaults = Key("", "", is_admin=True, limits=limits, share_prefixes=config.share_prefixes)
    keys = _keys(config, environment, defaults)
    if keys and is_open:
        raise ConfigError(
            f"there are API keys, and --open lets everybody in; remove one ([access] keys, ${ENVIRONMENT})"
        )
    if not keys and not is_open and not is_loopback(address):
        raise ConfigError(
            f"others can reach {address} and there are no API keys; make one (`coe keys add NAME`, [access] keys), "
            "listen on 127.0.0.1, or say --open: anybody who reaches the port may do everything"
        )
    if not keys and ANY in config.allowed_origins:
        raise ConfigError('[access] allowed_origins = "*" lets every web page in; make API keys, or name the pages')
    is_local = is_loopback(address)
    hosts = HostRule(is_local or not keys, not is_local, config.allowed_hosts)
    return Door(KeyRing(keys) if keys else None, hosts, OriginRule(config.allowed_origins), defaults)


def _keys(config: AccessConfig, environment: Mapping[str, str], defaults: Key) -> tuple[Key, ...]:
    in_environment = environment.get(ENVIRONMENT, "").strip()
    if config.keys and in_environment:
        raise ConfigError(f"there are keys in [access] keys and in ${ENVIRONMENT}; remove one of them")
    if config.keys:
        keys = read_keys(config.keys, defaults)
        if not keys:
            raise ConfigError(f"{config.keys}: there is no key; `coe keys add NAME` makes one")
        return keys
    return parse_keys(in_environment, f"${ENVIRONMENT}", defaults)


def _caller(key: Key, now_s: float) -> Caller:
    group = f"group {key.share_prefixes}" if key.share_prefixes else f"key {key.name}"
    return Caller(key.name, group, Allowance(key.limits, now_s), key.is_admin)


def _secret_in(headers: Mapping[str, str]) -> str | None:
    """Return the key that a request brings: RFC 6750's bearer token, else the header that Anthropic's clients send."""
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and secret.strip():
        return secret.strip()
    return headers.get("x-api-key", "").strip() or None


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
