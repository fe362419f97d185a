"""`coe bench answers`: hands rows and the encoder's vectors to the benchmark, which does not import the router.

A row has its prompt in `prompt`, `text` or `messages`, its category in `category` or `expert` (else the file's name is
it), and its right answer in `answer`, `gold` or `label`, if it has one that can be compared.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from coe.bench.answers import AskedRow, comparable, measure, publish
from coe.bench.arguments import add_json_argument
from coe.bench.report import Output
from router.encoding.cached_encoder import load_encoder
from router.labelled.fields import TEXT_KEYS, question_in
from router.labelled.rows import read_rows
from router.model.artefact import load_artefact

__all__ = ["add_arguments", "run"]

FREE_TEXT = "loss"  # the `check` of rows whose answer is one of many


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tables", type=Path, nargs="+", help="files of prompts, best with their right answers")
    parser.add_argument("--artefact", type=Path, help="a trained router; default: the shipped one")
    parser.add_argument("--device", default="cpu", help="where the encoder runs")
    parser.add_argument("--cache", type=Path, help="folder for vectors of prompts, so that each is encoded once")
    add_json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure every table's prompts; raises ValueError for tables without one that can be compared."""
    output = Output(None, arguments.json)
    artefact = load_artefact(arguments.artefact)
    rows = comparable(row for path in arguments.tables for row in rows_of(path))
    if not rows:
        raise ValueError(f"no prompt in {', '.join(map(str, arguments.tables))} is short enough to be compared")
    encoder = load_encoder(artefact.encoder_source, arguments.device, arguments.cache)
    seen = artefact.model.centred(encoder.encode([row.prompt for row in rows]))
    vectors = seen.astype(np.float32).reshape(len(rows), -1, len(artefact.follow_up.centre))
    facts: dict[str, object] = {"encoder": artefact.encoder_id, "tables": [path.name for path in arguments.tables]}
    publish(measure(rows, vectors), facts, output)
    return 0


def rows_of(path: Path) -> Iterator[AskedRow]:
    """Yield the rows of a file that have a prompt."""
    for _, row in read_rows(path):
        if not isinstance(row, Mapping):
            continue
        if any(row.get(key) for key in TEXT_KEYS):
            category = row.get("category") or row.get("expert") or path.name.split(".")[0]
            yield AskedRow(question_in(row), str(category), _answer_of(row))


def _answer_of(row: Mapping[str, Any]) -> str | None:
    known = next((row[name] for name in ("answer", "gold", "label") if row.get(name) is not None), None)
    return None if known is None or row.get("check") == FREE_TEXT else str(known)
