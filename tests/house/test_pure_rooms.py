"""Rooms that decide have no clock, no threads, no logging and no tensors: time and facts come in as values."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("coe/scheduling", "coe/weights/residency")
MODULES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
FORBIDDEN = frozenset({"asyncio", "concurrent", "logging", "numpy", "queue", "random", "threading", "time", "torch"})


def imported(path: Path) -> set[str]:
    """The first part of every module name that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_that_decides_imports_nothing_that_does(path: Path) -> None:
    assert not imported(path) & FORBIDDEN
