"""Bad expert folders without end: each seed copies a good folder and does one to three bad things to it.

What is done covers JSON fields (another type, missing, huge, nested), JSON files (cut, emptied, no objects), tensors
(missing, empty, of another shape or dtype, NaN, renamed, left over), headers of safetensors, and files (cut, gone,
flipped bytes, folders, pipes, devices and links in their place). Knows nothing about coe.
"""

from __future__ import annotations

import json
import math
import os
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from odd_folders import edit_header
from safetensors.torch import load_file, save_file

__all__ = ["BadFolder", "bad_folder"]

Random = random.Random

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 3, 2**31, 10**15, -(10**15), 0.5, -0.5, 1e308, math.nan, math.inf),
    *("", "x", "x" * 10_000, "../../outside", "\ud83d", "{{ 1/0 }}", [], {}, [None], ["a"], [-1], [[]], {"a": 1}),
)
TEMPLATES = (
    "{{ 1/0 }}",
    "{% for message in messages %}",
    "{{ messages[99].content.parts }}",
    "{{ raise_exception('no') }}",
    "{% include 'x' %}",
    "{{ ''.__class__.__mro__ }}",
    "(" * 5000,
    "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
    "\x00",
    "",
)
DTYPES = (torch.int8, torch.uint8, torch.bool, torch.int64, torch.float8_e4m3fn, torch.float16, torch.float64)


class BadFolder(NamedTuple):
    """`what` says what was done. `is_lethal`: whoever serves it gives answers of something else."""

    seed: int
    folder: Path
    what: str
    is_lethal: bool


class _Deed(NamedTuple):
    what: str
    is_lethal: bool = False


def bad_folder(seed: int, good: Mapping[str, Path], target: Path) -> BadFolder:
    """Make the folder of a seed below `target` from one of the good ones, which are named by kind."""
    rng = Random(seed)
    kind = rng.choice(sorted(good))
    folder = Path(shutil.copytree(good[kind], target / f"{seed}-{kind}"))
    deeds = [rng.choice(_DEEDS)(rng, folder) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
    return BadFolder(
        seed, folder, f"{kind}: " + "; ".join(deed.what for deed in deeds), any(d.is_lethal for d in deeds)
    )


# -- JSON


def _json_field(rng: Random, folder: Path) -> _Deed:
    file = _pick(rng, folder, ".json")
    if file is None:
        return _Deed("nothing")
    try:
        root = json.loads(file.read_text())
    except (ValueError, RecursionError):
        return _Deed("nothing")
    holder, key, path = _place(rng, root)
    if holder is None:
        return _Deed("nothing")
    if rng.random() < 0.2:
        del holder[key]
        done = "removed"
    else:
        depth = 0 if rng.random() < 0.95 else rng.choice((50, 900, 3000))
        holder[key] = _deep(depth) if depth else rng.choice(VALUES)
        done = f"nested {depth} times" if depth else f"= {str(holder[key])[:40]!r}"
    try:
        file.write_text(json.dumps(root))
    except RecursionError:
        return _Deed("nothing")
    return _Deed(f"{file.name} {path} {done}")


def _place(rng: Random, value: Any) -> tuple[Any, Any, str]:
    """Return a container, a key in it and the path there."""
    path = ""
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
        if not keys:
            return None, None, path
        key = rng.choice(keys)
        path += f"/{key}"
        if isinstance(value[key], dict | list) and value[key] and rng.random() < 0.6:
            value = value[key]
        else:
            return value, key, path


def _deep(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def _json_file(rng: Random, folder: Path) -> _Deed:
    file = _pick(rng, folder, ".json")
    if file is None:
        return _Deed("nothing")
    data = file.read_bytes()
    content = rng.choice(
        (
            *(b"", b"{}", b"[]", b"null", b"7", b'"text"', b"[" * 100_000, b'{"a":' * 100_000),
            *(b"\xef\xbb\xbf" + data, b"\xff" + data, data + b"}", data.replace(b":", b"", 1)),
            data[: rng.randrange(len(data) + 1)],
        )
    )
    file.write_bytes(content)
    return _Deed(f"{file.name} = {content[:20]!r}… ({len(content)} bytes)")


def _template(rng: Random, folder: Path) -> _Deed:
    text = rng.choice(TEMPLATES)
    file = folder / "chat_template.jinja"
    if not file.is_dir():
        file.unlink(missing_ok=True)  # an earlier deed may have made it a pipe
        file.write_text(text)
    return _Deed(f"template {text[:30]!r}")


# -- tensors


def _tensor(rng: Random, folder: Path) -> _Deed:
    file = _pick(rng, folder, ".safetensors")
    if file is None:
        return _Deed("nothing")
    try:
        tensors = load_file(file)
    except Exception:  # an earlier deed has broken it
        return _Deed("nothing")
    if not tensors:
        return _Deed("nothing")
    name = rng.choice(sorted(tensors))
    what, is_lethal = rng.choice(_TENSOR_DEEDS)(rng, tensors, name)
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, file)
    return _Deed(f"{file.name} {name} {what}", is_lethal)


def _missing(_: Random, tensors: dict[str, torch.Tensor], name: str) -> _Deed:
    del tensors[name]
    return _Deed("missing", is_lethal=True)


def _all_missing(_: Random, tensors: dict[str, torch.Tensor], __: str) -> _Deed:
    tensors.clear()
    return _Deed("and all others missing", is_lethal=True)


def _reshaped(rng: Random, tensors: dict[str, torch.Tensor], name: str) -> _Deed:
    old = tensors[name]
    shapes: list[tuple[int, ...]] = [(0,), (), (1,), (3, 5), (*old.shape, 1), (old.shape[0] + 1, *old.shape[1:])]
    shape = rng.choice([shape for shape in shapes if shape != tuple(old.shape)])
    tensors[name] = torch.ones(shape)
    return _Deed(f"of shape {shape}", is_lethal=True)


def _all_empty(_: Random, tensors: dict[str, torch.Tensor], __: str) -> _Deed:
    tensors.update({key: torch.zeros(0) for key in tensors})
    return _Deed("and all others empty", is_lethal=True)


def _recast(rng: Random, tensors: dict[str, torch.Tensor], name: str) -> _Deed:
    dtype = rng.choice(DTYPES)
    tensors[name] = tensors[name].to(dtype)
    return _Deed(f"of {dtype}", is_lethal=not dtype.is_floating_point or dtype.itemsize < 2)


def _no_numbers(rng: Random, tensors: dict[str, torch.Tensor], name: str) -> _Deed:
    value = rng.choice((math.nan, math.inf))
    tensors[name] = torch.full_like(tensors[name], value)
    return _Deed(f"all {value}", is_lethal=not name.endswith("k_proj.bias"))  # softmax does not see a constant there


def _renamed(_: Random, tensors: dict[str, torch.Tensor], name: str) -> _Deed:
    tensors[f"{name}.other"] = tensors.pop(name)
    return _Deed("renamed", is_lethal=True)


def _left_over(_: Random, tensors: dict[str, torch.Tensor], name: str) -> _Deed:
    tensors[f"model.layers.77.{name}"] = tensors[name].clone()
    return _Deed("and one that is left over", is_lethal=not name.endswith("attn.bias"))  # masks of old checkpoints


_TENSOR_DEEDS: tuple[Callable[[Random, dict[str, torch.Tensor], str], _Deed], ...] = (
    *(_missing, _all_missing, _reshaped, _all_empty, _recast, _recast, _no_numbers, _renamed, _left_over),
)


def _header(rng: Random, folder: Path) -> _Deed:
    file = _pick(rng, folder, ".safetensors")
    if file is None or file.stat().st_size < 200:
        return _Deed("nothing")
    said = []

    def change(header: dict[str, Any]) -> None:
        name = rng.choice(sorted(set(header) - {"__metadata__"}) or [""])
        if not name:
            return
        key = rng.choice(("dtype", "shape", "data_offsets"))
        value = rng.choice((*VALUES[:13], [10**15], [0, 10**15], [-4, 4], [0, 0], "F99", [2**63, 2], []))
        header[name] = {**header[name], key: value}
        said.append(f"{name} {key} = {value}")

    try:
        edit_header(change, file.name)(folder)
    except (ValueError, TypeError):
        return _Deed("nothing")
    return _Deed(f"{file.name} header {said}")


# -- files


def _file(rng: Random, folder: Path) -> _Deed:
    file = _pick(rng, folder, "")
    return _Deed("nothing") if file is None else rng.choice(_FILE_DEEDS)(rng, file)


def _cut(rng: Random, file: Path) -> _Deed:
    size = rng.randrange(file.stat().st_size + 1)
    is_lethal = file.suffix == ".safetensors" and size < file.stat().st_size
    os.truncate(file, size)
    return _Deed(f"{file.name} cut to {size} bytes", is_lethal)


def _gone(_: Random, file: Path) -> _Deed:
    file.unlink()
    return _Deed(f"{file.name} gone", file.suffix == ".safetensors")


def _flipped(rng: Random, file: Path) -> _Deed:
    data = bytearray(file.read_bytes())
    for _ in range(rng.choice((1, 10, 1000)) if data else 0):
        data[rng.randrange(len(data))] = rng.randrange(256)
    file.write_bytes(data)
    return _Deed(f"{file.name} with flipped bytes")


def _instead(rng: Random, file: Path) -> _Deed:
    kind = rng.choice(
        ("folder", "pipe", "/dev/zero", "/dev/null", "/proc/self/mem", "/proc/kmsg", "nowhere", file.name)
    )
    file.unlink()
    if kind == "folder":
        file.mkdir()
    elif kind == "pipe":
        os.mkfifo(file)
    else:
        file.symlink_to(kind)
    return _Deed(f"{file.name} is {kind}", file.suffix == ".safetensors")


def _huge(_: Random, file: Path) -> _Deed:
    os.truncate(file, 1 << 38)
    return _Deed(f"{file.name} has 256 GiB", file.suffix == ".safetensors")


_FILE_DEEDS: tuple[Callable[[Random, Path], _Deed], ...] = (_cut, _cut, _gone, _flipped, _flipped, _instead, _huge)


def _pick(rng: Random, folder: Path, suffix: str) -> Path | None:
    """Return a file that no earlier deed has put something else in the place of."""
    named = sorted(file for file in folder.iterdir() if file.name.endswith(suffix) and file.name != "README.md")
    files = [file for file in named if file.is_file() and not file.is_symlink() and file.stat().st_size < 1 << 30]
    return rng.choice(files) if files else None


_DEEDS: tuple[Callable[[Random, Path], _Deed], ...] = (
    *(_json_field, _json_field, _json_field, _json_field, _json_file),
    *(_tensor, _tensor, _tensor, _header, _file, _file, _template),
)
