"""Which host names and web pages may talk to the server: against DNS rebinding and requests that a page forges.

A browser sends the page's origin along, and cannot be made to lie about it nor about the host (Fetch Standard, "Origin
header"; RFC 9110, 7.2). Pure. Knows nothing about keys.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

__all__ = ["ANY", "HostRule", "OriginRule", "is_loopback"]

ANY = "*"
PORTS = {"http": 80, "https": 443}


class _Authority(NamedTuple):
    host: str
    port: int | None


@dataclass(frozen=True, slots=True)
class HostRule:
    """Whether a Host header may be answered.

    A server that others can reach and that asks for keys answers any. Another answers the names of this machine's
    loopback and `names`; beyond loopback (`takes_addresses`) also IP addresses, which no name server can point
    elsewhere.
    """

    is_checked: bool = True
    takes_addresses: bool = False
    names: Collection[str] = ()

    def allows(self, host: str | None) -> bool:
        if not self.is_checked:
            return True
        name = _authority(f"//{host}").host if host else ""
        return (
            name in self.names
            or name == "localhost"
            or name.endswith(".localhost")
            or (_is_address(name) if self.takes_addresses else is_loopback(name))
        )


@dataclass(frozen=True, slots=True)
class OriginRule:
    """Whether a page of an origin may ask. `allowed` are origins such as "https://chat.example", or "*" for all."""

    allowed: Collection[str] = ()

    def allows(self, origin: str, host: str | None) -> bool:
        """Return whether the page may ask: it is the server's own, or it is allowed."""
        return self.is_listed(origin) or (host is not None and _is_same(origin, host))

    def is_listed(self, origin: str) -> bool:
        """Return whether the configuration allows it, so that a browser has to be told."""
        return ANY in self.allowed or origin.lower() in self.allowed


def is_loopback(host: str) -> bool:
    """Return whether an address or name means this machine alone."""
    if host == "localhost":
        return True
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_same(origin: str, host: str) -> bool:
    """Return whether an origin is the server's own. A proxy may have ended TLS: the scheme only says the port."""
    page = _authority(origin)
    scheme = origin.partition("://")[0].lower()
    if not page.host or scheme not in PORTS:
        return False
    own = _authority(f"//{host}")
    return (page.host, page.port or PORTS[scheme]) == (own.host, own.port or PORTS[scheme])


def _authority(url: str) -> _Authority:
    """Return host and port of an address; no host where it is not one."""
    try:
        parts = urlsplit(url)
        if parts.username is not None or parts.path or parts.query or parts.fragment:
            return _Authority("", None)
        return _Authority((parts.hostname or "").rstrip("."), parts.port)
    except ValueError:
        return _Authority("", None)
