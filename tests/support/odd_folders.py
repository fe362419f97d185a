"""Expert folders with one thing wrong, made from good ones: what a refusal must name, and how the folder is damaged."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

__all__ = [
    "copied",
    "edit",
    "edit_header",
    "edit_tensors",
    "folder_instead",
    "huge",
    "nested",
    "pipe",
    "raw",
    "weight_map",
]

Damage = Callable[[Path], object]


def edit(file: str, **changes: Any) -> Damage:
    """Change keys of a JSON file; `...` removes one."""

    def damage(folder: Path) -> None:
        value = {**json.loads((folder / file).read_text()), **changes}
        (folder / file).write_text(json.dumps({key: item for key, item in value.items() if item is not ...}))

    return damage


def raw(file: str, content: bytes) -> Damage:
    """Replace a file's bytes."""
    return lambda folder: (folder / file).write_bytes(content)


def nested(file: str, depth: int = 100_000) -> Damage:
    return raw(file, b"[" * depth)


def edit_tensors(change: Callable[[dict[str, torch.Tensor]], object], file: str = "model.safetensors") -> Damage:
    """Change the tensors of a safetensors file."""

    def damage(folder: Path) -> None:
        tensors = load_file(folder / file)
        change(tensors)
        save_file(tensors, folder / file)

    return damage


def edit_header(change: Callable[[dict[str, Any]], object], file: str = "model.safetensors") -> Damage:
    """Change the header of a safetensors file and leave its bytes alone."""

    def damage(folder: Path) -> None:
        data = (folder / file).read_bytes()
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])
        change(header)
        written = json.dumps(header).encode()
        (folder / file).write_bytes(len(written).to_bytes(8, "little") + written + data[8 + size :])

    return damage


def weight_map(**files: Any) -> Damage:
    """Write an index with this weight map."""
    return raw("model.safetensors.index.json", json.dumps({"weight_map": files}).encode())


def pipe(file: str) -> Damage:
    """Put a pipe in a file's place: whoever opens it waits for ever."""

    def damage(folder: Path) -> None:
        (folder / file).unlink(missing_ok=True)
        os.mkfifo(folder / file)

    return damage


def folder_instead(file: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / file).unlink(missing_ok=True)
        (folder / file).mkdir()

    return damage


def huge(file: str, size_bytes: int) -> Damage:
    """Make a file so long that reading it would take the machine's memory; it takes no disk."""

    def damage(folder: Path) -> None:
        (folder / file).touch()
        os.truncate(folder / file, size_bytes)

    return damage


def copied(source: Path, target: Path, damage: Damage) -> Path:
    """Return a damaged copy of a folder."""
    shutil.copytree(source, target)
    damage(target)
    return target
