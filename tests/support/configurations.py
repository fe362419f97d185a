"""Configurations written on the spot: read, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from coe.config.read import load_config
from coe.config.schema import Config
from coe.errors import ConfigError

__all__ = ["A", "check_refused", "read", "refusal"]

A = 'experts.a = "a"\n'  # the least that a configuration needs


def read(folder: Path, text: str) -> Config:
    """Write `text` as coe.toml into `folder` and load it."""
    file = folder / "coe.toml"
    file.write_text(text)
    return load_config(file)


def refusal(folder: Path, text: str) -> str:
    """The message with which a configuration is refused."""
    with pytest.raises(ConfigError) as caught:
        read(folder, text)
    return str(caught.value)


def check_refused(folder: Path, text: str, expected: str) -> None:
    """One problem, with the file's name and `expected` in it."""
    message = refusal(folder, text)
    assert expected in message
    assert str(folder / "coe.toml") in message
    assert "problems" not in message
