"""A JSON object in an expert's folder, and which files of such a folder may be opened at all.

A pipe or a device would hang the reader, and a file of gigabytes would take the machine's memory: both are refused
before anything is opened. Knows nothing about what the fields mean (model_fields.py does).
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from coe.errors import SourceError

__all__ = ["INDEX_BYTES", "check_folder", "json_object", "json_value"]

OBJECT_BYTES = 16 << 20
INDEX_BYTES = 64 << 20  # an index of a hundred thousand tensors has a tenth of that
MOST_NESTED = 100  # transformers and json walk what they are given by recursion
TEXT_BYTES = 256 << 20  # of any other file but weights: the largest tokenizer.json known has 80 MB
_WEIGHTS = (".safetensors", ".gguf", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".msgpack", ".h5", ".onnx")
_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


def json_object(expert: str, path: Path, most_bytes: int = OBJECT_BYTES) -> dict[str, Any]:
    """Return the object in a JSON file; raises SourceError, in the name of `expert`, for anything else."""
    value = json_value(expert, path, most_bytes)
    if not isinstance(value, dict):
        raise SourceError(expert, f"{path} is not a JSON object; fetch it again")
    return value


def json_value(expert: str, path: Path, most_bytes: int = OBJECT_BYTES) -> Any:
    """Return the object or list in a JSON file; raises SourceError, in the name of `expert`, for anything else."""
    try:
        _check(expert, path, path.stat(), most_bytes)
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(expert, f"{path} cannot be read ({error}); fetch it again") from error
    except RecursionError as error:
        raise SourceError(expert, f"{path} is nested too deeply to be read; fetch it again") from error
    if not isinstance(value, dict | list):
        raise SourceError(expert, f"{path} is not a JSON object; fetch it again")
    if _is_nested_deeper(value, MOST_NESTED):
        raise SourceError(expert, f"{path} is nested too deeply to be read; fetch it again")
    return value


def _is_nested_deeper(value: Any, depth: int) -> bool:
    containers = [value]
    for _ in range(depth):
        inner = [each.values() if isinstance(each, dict) else each for each in containers]
        containers = [item for items in inner for item in items if isinstance(item, dict | list)]
    return bool(containers)


def check_folder(expert: str, folder: Path) -> None:
    """Raise SourceError for a folder with pipes or devices in it, or with a description too large to be one.

    transformers opens files by names of its own (tokenizers, templates), so every file is looked at.
    """
    for place in (folder, folder / "additional_chat_templates"):
        for path in place.iterdir() if place.is_dir() else ():
            if path.exists() and not path.is_dir():  # a link to nothing is a missing file
                if path.is_symlink() and path.stat().st_size == 0 and path.is_file():  # /proc/kmsg would hang, too
                    raise SourceError(expert, f"{path} links to {path.readlink()}, which is empty; fetch it again")
                _check(expert, path, path.stat(), None if path.name.endswith(_WEIGHTS) else TEXT_BYTES)


def _check(expert: str, path: Path, status: os.stat_result, most_bytes: int | None) -> None:
    if kind := _KINDS.get(stat.S_IFMT(status.st_mode)):
        raise SourceError(expert, f"{path} is {kind}, not a file; remove it")
    if most_bytes is not None and status.st_size > most_bytes:
        raise SourceError(
            expert, f"{path} has {status.st_size:,} bytes, and at most {most_bytes:,} are read; fetch it again"
        )
