"""A trained router as files: `router.json` (what a person may read) and `router.safetensors` (the arrays).

Owns the format and its version, and refuses by name what it cannot use. Nothing in the files is ever executed; pickle
is not involved. Knows nothing about experts or how a router is trained.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from safetensors.numpy import save as to_bytes

from router.model.abstain import AbstainRule
from router.model.category_model import CategoryModel
from router.model.described import DescribedCategories
from router.model.follow_up import FollowUpModel
from router.model.layers import layer_from_arrays
from router.model.tf_idf import TfIdfModel
from router.model.versions import served_folder

__all__ = [
    "ARRAYS_FILE",
    "DEFAULT_FOLDER",
    "HEADER_FILE",
    "Artefact",
    "ArtefactError",
    "Exemplar",
    "load_artefact",
    "read_artefact",
]

FORMAT = 4
DEFAULT_FOLDER = Path(__file__).parents[1] / "default"
HEADER_FILE = "router.json"
ARRAYS_FILE = "router.safetensors"
PLAIN_FIELDS = ("encoder_source", "encoder_id", "categories", "temperature", "data", "metrics")


class ArtefactError(ValueError):
    """A trained router that cannot be used: not there, of another format, damaged, or made for another encoder."""


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A training prompt that is kept as a vector, to measure how like the training data a prompt is.

    `text` is there only where anybody may read it: of the authored prompts.
    """

    id: str
    source: str
    category: str
    text: str | None = None

    @property
    def fields(self) -> list[str]:
        """What the file keeps, in the order of the constructor."""
        return [self.id, self.source, self.category] + ([] if self.text is None else [self.text])


@dataclass(frozen=True, slots=True)
class Artefact:
    """All that is learned. `encoder_source` is the encoder to load, `encoder_id` the id it must turn out to have.

    `described` are categories of a configuration beside the trained ones; they are made at start and never saved.
    """

    encoder_source: str
    encoder_id: str
    categories: tuple[str, ...]
    temperature: float
    abstain: AbstainRule
    model: CategoryModel
    exemplars: tuple[Exemplar, ...]
    follow_up: FollowUpModel
    exemplar_vectors: NDArray[np.float32]  # (exemplars, dims of the whole text's embedding), centred
    data: dict[str, Any] = field(default_factory=dict)  # source -> rows used and licence
    metrics: dict[str, Any] = field(default_factory=dict)
    described: DescribedCategories | None = None

    def save(self, folder: Path) -> None:
        """Write both files."""
        assert self.described is None, "what a configuration describes is made anew at every start"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ARRAYS_FILE).write_bytes(to_bytes(self._arrays()))
        header = {"format": FORMAT, "arrays_sha256": sha256_of(folder / ARRAYS_FILE)}
        header |= {name: getattr(self, name) for name in PLAIN_FIELDS}
        header |= {"abstain": asdict(self.abstain), "tf_idf_weight": self.model.tf_idf_weight}
        header["exemplars"] = [exemplar.fields for exemplar in self.exemplars]
        text = json.dumps(header, ensure_ascii=False, indent=1)
        (folder / HEADER_FILE).write_text(text + "\n", encoding="utf-8")

    def _arrays(self) -> dict[str, NDArray[np.generic]]:
        tf_idf = self.model.tf_idf.arrays() if self.model.tf_idf else {}
        centre = {} if self.model.centre is None else {"centre": self.model.centre.astype(np.float32)}
        near = {"exemplar_vectors": self.exemplar_vectors.astype(np.float16)}
        arrays = self.model.layer.arrays() | tf_idf | centre | near | self.follow_up.arrays()
        return {name: np.ascontiguousarray(array) for name, array in arrays.items()}

    def check_encoder(self, encoder_id: str) -> None:
        """Raises ArtefactError unless the encoder is the one this was trained with."""
        if encoder_id != self.encoder_id:
            raise ArtefactError(
                f"trained with encoder '{self.encoder_id}', but '{encoder_id}' was loaded: give the encoder it was "
                "trained with, or train again with this one"
            )


def load_artefact(folder: Path | None = None, min_confidence: float | None = None) -> Artefact:
    """Read a trained router, the shipped one by default, perhaps with another confidence threshold.

    Of a folder of versions it is the served one.

    Raises:
        ArtefactError: a file is missing, damaged, or of a format that this version does not read.
        VersionsError: the state of a folder of versions is damaged.
    """
    learned = read_artefact(served_folder(folder or DEFAULT_FOLDER))
    if min_confidence is None:
        return learned
    return replace(learned, abstain=replace(learned.abstain, min_confidence=min_confidence))


def read_artefact(folder: Path) -> Artefact:
    """Read both files of an artefact."""
    header = read_header(folder)
    if sha256_of(folder / ARRAYS_FILE) != header.pop("arrays_sha256", None):
        raise ArtefactError(f"{folder}: {ARRAYS_FILE} is not the one {HEADER_FILE} was written with; train again")
    try:
        arrays = load_file(folder / ARRAYS_FILE)
        categories, tf_idf_weight = tuple(header.pop("categories")), float(header.pop("tf_idf_weight"))
        layer, tf_idf = layer_from_arrays(arrays, len(categories)), TfIdfModel.from_arrays(arrays)
        centre = arrays["centre"].astype(np.float32) if "centre" in arrays else None
        return Artefact(
            categories=categories,
            abstain=rule_of(header.pop("abstain")),
            model=CategoryModel(layer, tf_idf, tf_idf_weight, centre),
            exemplars=tuple(Exemplar(*row) for row in header.pop("exemplars")),
            follow_up=FollowUpModel.from_arrays(arrays),
            exemplar_vectors=arrays["exemplar_vectors"].astype(np.float32),
            **header,
        )
    except (KeyError, TypeError) as error:
        raise ArtefactError(f"{folder / HEADER_FILE}: not a header of format {FORMAT} ({error})") from error


def rule_of(fields: Mapping[str, Any]) -> AbstainRule:
    return AbstainRule(**{**fields, "coef": tuple(fields["coef"])})


def read_header(folder: Path) -> dict[str, Any]:
    """Return router.json without its format number, which is checked."""
    for name in (HEADER_FILE, ARRAYS_FILE):
        if not (folder / name).is_file():
            raise ArtefactError(f"{folder}: no {name} there; a trained router is {HEADER_FILE} and {ARRAYS_FILE}")
    try:
        header = json.loads((folder / HEADER_FILE).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ArtefactError(f"{folder / HEADER_FILE}: not JSON ({error})") from error
    found = header.pop("format", None) if isinstance(header, dict) else None
    if found != FORMAT:
        raise ArtefactError(
            f"{folder}: a router of format {found!r}, and this version reads format {FORMAT}; train it again"
        )
    return dict(header)


def sha256_of(path: Path) -> str:
    """Return the hex digest of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
