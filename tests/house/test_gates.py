"""Rooms that a stranger can live in: sizes of functions, classes, files and folders, and no circles of imports.

When a gate is in the way, the room has two concerns: find the second noun. There are no exceptions.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("coe", "router", "server")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
FOLDERS = sorted({path.parent for path in MODULES})

FUNCTION_LINES = 50
CLASS_METHODS = 25
CLASS_LINES = 350
FILE_LINES = 400
FOLDER_MODULES = 15


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def definitions(path: Path) -> Iterator[tuple[str, ast.AST]]:
    """Functions, methods and classes of a file, with their dotted names."""

    def walk(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.AST]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield f"{prefix}{child.name}", child
                yield from walk(child, f"{prefix}{child.name}.")

    return walk(ast.parse(path.read_text()), "")


def num_lines(node: ast.AST) -> int:
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def too_large(path: Path) -> list[str]:
    """What a file has beyond the gates, each as `file: name: what`."""
    found = []
    for name, node in definitions(path):
        size = num_lines(node)
        if isinstance(node, ast.ClassDef):
            methods = sum(isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) for each in node.body)
            if methods > CLASS_METHODS:
                found.append(f"{name_of(path)}: {name}: more than {CLASS_METHODS} methods")
            if size > CLASS_LINES:
                found.append(f"{name_of(path)}: {name}: more than {CLASS_LINES} lines")
        elif size > FUNCTION_LINES:
            found.append(f"{name_of(path)}: {name}: more than {FUNCTION_LINES} lines")
    if len(path.read_text().splitlines()) > FILE_LINES:
        found.append(f"{name_of(path)}: more than {FILE_LINES} lines")
    return found


def test_functions_classes_files_and_folders_have_a_size_that_one_can_read() -> None:
    found = [each for path in MODULES for each in too_large(path)]
    for folder in FOLDERS:
        modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        if len(modules) > FOLDER_MODULES:
            found.append(f"{name_of(folder)}: more than {FOLDER_MODULES} modules")
    assert not found, "\n".join(found)


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path, known: set[str]) -> set[str]:
    """Modules of ours that a file imports, anywhere in it but for the sake of types alone."""
    names: set[str] = set()
    for node in runtime_nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names} & known
            names |= inside or {node.module}
    return names & known


def runtime_nodes(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from runtime_nodes(child)


def test_no_module_imports_itself_by_way_of_others() -> None:
    known = {module_of(path) for path in MODULES}
    arrows = {module_of(path): imports_of(path, known) - {module_of(path)} for path in MODULES}
    while True:  # take away what imports nothing that is left
        free = {name for name, targets in arrows.items() if not targets}
        if not free:
            break
        arrows = {name: targets - free for name, targets in arrows.items() if name not in free}
    assert not arrows, f"these import each other in a circle: {sorted(arrows)}"
