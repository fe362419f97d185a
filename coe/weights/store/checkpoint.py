"""A model's safetensors files, single or sharded, read one tensor at a time.

Owns the open files and the errors for files that are missing or damaged and tensors that are there twice or quantised.
Knows nothing about models, units or the store.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import torch
from safetensors import SafetensorError, safe_open

from coe.errors import WeightsError
from coe.sources.json_files import INDEX_BYTES, json_object

__all__ = ["Checkpoint", "FileRange", "weight_files"]


def weight_files(expert: str, folder: Path) -> list[Path]:
    """Return the files with a model's weights: those that its index names, else model.safetensors.

    Raises SourceError, in the name of `expert`, for an index that cannot be read.
    """
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return [folder / "model.safetensors"]
    return sorted({folder / name for name in json_object(expert, index, INDEX_BYTES)["weight_map"].values()})


class FileRange(NamedTuple):
    """Where a tensor's bytes lie in its file."""

    path: Path
    offset: int
    size_bytes: int


class Checkpoint:
    """The tensors of safetensors files by name; a WeightsError names the expert, the file and the tensor."""

    def __init__(self, expert: str, files: list[Path]) -> None:
        self.expert = expert
        self._stack = ExitStack()
        self._files: dict[str, Any] = {}  # tensor name -> open file
        self._paths: dict[str, Path] = {}
        self._headers: dict[Path, tuple[int, Any]] = {}
        try:
            for path in files:
                self._open(path)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()
        self._files.clear()

    @property
    def names(self) -> Mapping[str, Path]:
        """Every tensor's name with its file."""
        return self._paths

    @property
    def main_dtype(self) -> str:
        """The dtype of most tensors, by safetensors' name; float32 if there are no tensors."""
        if not self._files:
            return "F32"
        return Counter(self.dtype(name) for name in self._files).most_common(1)[0][0]

    def dtype(self, name: str) -> str:
        return str(self._files[name].get_slice(name).get_dtype())

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._files[name].get_slice(name).get_shape())

    def range_of(self, name: str) -> FileRange:
        """Return where one tensor's bytes lie, for a caller that reads the file itself."""
        path = self._paths[name]
        if path not in self._headers:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                self._headers[path] = (8 + length, json.loads(file.read(length)))
        base, header = self._headers[path]
        start, end = header[name]["data_offsets"]
        return FileRange(path, base + start, end - start)

    def check_float(self, name: str) -> None:
        """Raise WeightsError for a tensor of another kind than floating point with 16 bits or more."""
        if self.dtype(name) not in ("F64", "F32", "BF16", "F16"):
            raise WeightsError(
                self.expert,
                f"{self._paths[name]}: tensor '{name}' is {self.dtype(name)}: quantised weights are not read; "
                "name the unquantised original",
            )

    def read(self, name: str) -> torch.Tensor:
        """Return one tensor; it is a view of the mapped file and must not be written to."""
        self.check_float(name)
        try:
            tensor: torch.Tensor = self._files[name].get_tensor(name)
        except SafetensorError as error:
            raise WeightsError(self.expert, f"{self._paths[name]}: tensor '{name}': {error}; fetch it again") from error
        return tensor

    def _open(self, path: Path) -> None:
        try:
            file = self._stack.enter_context(safe_open(path, framework="pt"))
        except FileNotFoundError:
            raise WeightsError(self.expert, f"{path} is missing; fetch it again") from None
        except OSError as error:
            raise WeightsError(self.expert, f"{path} cannot be opened ({error}); make it readable") from error
        except SafetensorError as error:
            raise WeightsError(
                self.expert, f"{path} is truncated or no safetensors ({error}); fetch it again"
            ) from error
        for name in file.keys():  # noqa: SIM118  (not a mapping)
            if name in self._paths:
                raise WeightsError(
                    self.expert, f"tensor '{name}' is in {self._paths[name]} and {path}; fetch them again"
                )
            self._files[name], self._paths[name] = file, path
