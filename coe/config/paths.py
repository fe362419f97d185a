"""Paths in coe.toml, and the folder in which coe keeps what it makes.

Owns how `~` and `${VARIABLE}` expand and what COE_CACHE defaults to. Knows nothing about tables and keys.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["cache_dir", "expand"]

_VARIABLE = re.compile(r"\$\{(\w+)\}")


def cache_dir() -> Path:
    """Return $COE_CACHE, else the folder `coe` in the user's cache folder ($XDG_CACHE_HOME, else ~/.cache)."""
    if chosen := os.environ.get("COE_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "coe"


def expand(path: str, folder: Path) -> Path:
    """Return an absolute path: variables and `~` expanded, relative to `folder`.

    Raises ValueError for an environment variable that is not set.
    """
    return Path(os.path.normpath(folder / Path(_VARIABLE.sub(_value_of, path)).expanduser()))


def _value_of(variable: re.Match[str]) -> str:
    name = variable[1]
    if name == "COE_CACHE":
        return str(cache_dir())
    if name not in os.environ:
        raise ValueError(f"environment variable '{name}' is not set; set it or write the path out")
    return os.environ[name]
