"""The house itself: imports point one way, folders are where they belong, exported names exist."""

from __future__ import annotations

import ast
import importlib
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("coe", "router", "server")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Modules of ours that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name for name in names if name.split(".")[0] in PACKAGES}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    """server -> coe; router -> coe.types and coe.errors; coe -> router in coe/assembly/router.py alone.

    coe/cli is the one folder that knows all three.
    """
    package = path.relative_to(ROOT).parts[0]
    if path.is_relative_to(ROOT / "coe" / "cli"):
        return
    if package == "router":
        foreign = {name for name in imported(path) if not name.startswith("router")}
        assert foreign <= {"coe.types", "coe.errors"}
    else:
        allowed = {"coe": {"coe"}, "server": {"server", "coe"}}[package]
        if path == ROOT / "coe" / "assembly" / "router.py":
            allowed = {"coe", "router"}
        assert {name.split(".")[0] for name in imported(path)} <= allowed


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_exported_names_exist(path: Path) -> None:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    module = importlib.import_module(name)
    assert ast.get_docstring(ast.parse(path.read_text())), f"{name} has no docstring"
    for exported in getattr(module, "__all__", ()):
        assert hasattr(module, exported), exported


def test_top_level_is_what_was_agreed() -> None:
    for name in ("pyproject.toml", "coe", "router", "server", "tests", "docker", "docs", "examples", ".ci/run"):
        assert (ROOT / name).exists(), name
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_constraints_pin_every_direct_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    extras = [name for group in project["optional-dependencies"].values() for name in group]
    for dependency in [*project["dependencies"], *extras]:
        name = dependency.split("[")[0].split(">")[0].split("=")[0]
        assert name in pinned | {"coe-serve"}, name
