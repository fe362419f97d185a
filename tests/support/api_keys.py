"""A server that asks for API keys, for tests: a file of keys whose secrets are known."""

from __future__ import annotations

from pathlib import Path

from server.access.keys import digest_of

__all__ = ["bearer", "secret_of", "write_keys"]


def secret_of(name: str) -> str:
    return f"the-secret-of-{name}"


def bearer(name: str) -> dict[str, str]:
    """The header that brings the key of this name."""
    return {"authorization": f"Bearer {secret_of(name)}"}


def write_keys(folder: Path, **keys: str) -> str:
    """Write keys, each with the lines that its table has more; returns the table [access] that names the file."""
    file = folder / "keys.toml"
    file.write_text(
        "".join(f'[{name}]\nsha256 = "{digest_of(secret_of(name))}"\n{more}\n' for name, more in keys.items())
    )
    return f'[access]\nkeys = "{file}"\n'
