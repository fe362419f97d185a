"""Which server a command asks, and the client that asks it.

An operator at a terminal hears at once that there is no server, so these clients do not ask again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from coe.cli.commands import DEFAULT_CONFIG
from coe.client import Client
from coe.client.client import DEFAULT_URL

__all__ = ["add_url", "client_of", "url_of"]

ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}


def add_url(parser: argparse.ArgumentParser, *, default: str | None = DEFAULT_URL) -> None:
    parser.add_argument("--url", default=default, help=f"the server to ask (default: {DEFAULT_URL})")


def client_of(arguments: argparse.Namespace) -> Client:
    return Client(arguments.url, max_retries=0)


def url_of(url: str | None, config: str) -> str:
    """Return the URL that was named, else where the configuration's server listens on this machine.

    Without a coe.toml in this folder that is the default. Raises ConfigError for a configuration that cannot be used.
    """
    if url is not None:
        return url
    if config == DEFAULT_CONFIG and not Path(config).exists():
        return DEFAULT_URL
    from coe.config.read import load_config

    server = load_config(config).server
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"http://{ANY_ADDRESS.get(server.host, host)}:{server.port}"
