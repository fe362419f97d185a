"""`coe experts quantize`: an expert's int8 form, and what it costs in quality beside what it gains.

Quality is measured on text that nothing was fitted to (quantisation needs no data): perplexity of both forms, and how
often their greedy next tokens agree, position by position. Gain is bytes and milliseconds of a decode step. Knows the
store and the bare model; no server has to run.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from coe.assembly.forms import stored_form
from coe.assembly.processor import choose_device, processor_of
from coe.bench.arguments import add_json_argument
from coe.bench.report import Output, record, table
from coe.bench.running_text import TEXT
from coe.bench.step_profile import HandDriven, profile_step
from coe.config.catalog import ExpertSpec, load_catalog
from coe.config.read import load_config
from coe.config.schema import Config
from coe.errors import ConfigError
from coe.text.templates import load_text
from coe.weights.store.importer import import_expert
from coe.weights.store.unit_store import UnitStore
from coe.weights.unit import Manifest

__all__ = ["add_arguments", "run"]

NUM_STEPS = 20  # decode steps to time
WINDOW_TOKENS = 256  # each piece of text is read from its start, without what came before


@dataclass(frozen=True, slots=True)
class Loss:
    """One expert's two forms on the same tokens."""

    expert: str
    backend_full: str
    backend_int8: str
    num_tokens: int
    bytes_full: int
    bytes_int8: int
    perplexity_full: float
    perplexity_int8: float
    greedy_agreement: float  # share of positions with the same most likely next token
    step_ms_full: float
    step_ms_int8: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--expert", action="append", default=[], help="which (repeatable; default: all)")
    parser.add_argument("--report", action="store_true", help="measure perplexity, greedy agreement and step time")
    parser.add_argument("--text", type=Path, help="UTF-8 text to measure on (default: a page of our own)")
    add_json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Import the int8 forms; with --report measure them too, print a table, then one JSON line."""
    output, config = Output(json_file=arguments.json), load_config(arguments.config)
    store, processor = UnitStore(config.cache.dir), processor_of(choose_device(config.engine.device))
    text = _text(arguments.text)
    losses = []
    for spec in _chosen(config, arguments.expert):
        full, int8 = (
            import_expert(store, each, stored_form(each, processor))
            for each in (replace(spec, weights="full"), replace(spec, weights="int8"))
        )
        print(f"{spec.name}: {full.dtype} {full.size_bytes:,} bytes, int8 {int8.size_bytes:,} bytes")
        if arguments.report:
            losses.append(_measure(store, spec, full, int8, text))
    if arguments.report:
        print(_table(losses))
        output.publish("quantize", record("quantize", {"experts": [asdict(loss) for loss in losses]}))
    return 0


def _chosen(config: Config, names: Sequence[str]) -> Iterator[ExpertSpec]:
    catalog = load_catalog(config.experts, config.engine.dtype)
    yield from (catalog.get(name) for name in names) if names else catalog


def _text(file: Path | None) -> str:
    if file is None:
        return TEXT
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--text {file} cannot be read ({error}); name a UTF-8 file") from error


def _measure(store: UnitStore, spec: ExpertSpec, full: Manifest, int8: Manifest, text: str) -> Loss:
    reader = load_text(spec.name, full.tokenizer_dir, full.config, full.generation_config, spec.chat_template)
    ids = reader.tokenizer.encode(text, add_special_tokens=False).ids
    windows = [ids[at : at + WINDOW_TOKENS] for at in range(0, len(ids) - 1, WINDOW_TOKENS)]
    forms = [HandDriven(store, manifest) for manifest in (full, int8)]
    nats, agreeing, count = [0.0, 0.0], 0, 0
    for window in windows:
        following = torch.tensor(window[1:])[:, None]
        found = [form.logits(window)[:-1].log_softmax(-1) for form in forms]
        nats = [total - float(each.gather(1, following).sum()) for total, each in zip(nats, found, strict=True)]
        agreeing += int((found[0].argmax(-1) == found[1].argmax(-1)).sum())
        count += len(following)
    if not count:
        raise ConfigError("--text: nothing to predict; name a file with more than one token of text")
    profiles = [profile_step(form, NUM_STEPS) for form in forms]
    return Loss(
        expert=spec.name,
        backend_full=profiles[0].backend,
        backend_int8=profiles[1].backend,
        num_tokens=count,
        bytes_full=full.size_bytes,
        bytes_int8=int8.size_bytes,
        perplexity_full=math.exp(nats[0] / count),
        perplexity_int8=math.exp(nats[1] / count),
        greedy_agreement=agreeing / count,
        step_ms_full=profiles[0].step_ms,
        step_ms_int8=profiles[1].step_ms,
    )


def _table(losses: Sequence[Loss]) -> str:
    heads = ("expert", "tokens", "perplexity full", "int8", "same next token", "step ms full", "int8", "bytes")
    rows = [
        (
            loss.expert,
            str(loss.num_tokens),
            f"{loss.perplexity_full:.3f}",
            f"{loss.perplexity_int8:.3f}",
            f"{loss.greedy_agreement:.1%}",
            f"{loss.step_ms_full:.1f}",
            f"{loss.step_ms_int8:.1f}",
            f"{loss.bytes_int8 / loss.bytes_full:.0%}",
        )
        for loss in losses
    ]
    return table(heads, rows)
