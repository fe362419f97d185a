"""The command `suggest`: categories and experts for prompts without labels.

Owns its arguments and the files that it writes. Knows nothing about how a proposal is made.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from router.encoding.cached_encoder import load_encoder
from router.encoding.sentence_model import DEFAULT_SOURCE
from router.labelled.bad_rows import lines_about, nothing_left
from router.labelled.prompts import merged
from router.proposals.catalogue import read_catalogue
from router.proposals.proposal import Proposal, proposed
from router.proposals.proposal_text import figures_of, lines_of, toml_of
from router.training.self_labelling import read_unlabelled

__all__ = ["add_arguments", "run"]

MIN_CATEGORIES, MAX_CATEGORIES = 2, 500


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `coe router suggest`."""
    parser.add_argument(
        "catalogue", type=Path, help="the experts: coe.toml, rows of {name, description}, or a folder of model folders"
    )
    parser.add_argument("prompts", type=Path, nargs="+", help="files of prompts; labels in them are not read")
    parser.add_argument("--categories", type=int, metavar="N", help="how many; default: by the silhouette, 4 to 20")
    parser.add_argument("--json", type=Path, help="write the proposal here, too")
    parser.add_argument("--toml", type=Path, help="write what to paste into coe.toml here; default: print it")
    parser.add_argument("--labelled", type=Path, help="write rows of {prompt, category} here, to mend and train on")
    parser.add_argument("--encoder", default=DEFAULT_SOURCE, help="as for `coe router train`")
    parser.add_argument("--device", default="cpu", help="where the encoder runs")
    parser.add_argument("--cache", type=Path, help="folder that keeps embeddings between runs")


def run(args: argparse.Namespace) -> int:
    """Run `coe router suggest`; returns the exit code."""
    if args.categories is not None and not MIN_CATEGORIES <= args.categories <= MAX_CATEGORIES:
        raise ValueError(f"--categories {args.categories}: must lie in {MIN_CATEGORIES} to {MAX_CATEGORIES}")
    catalogue = read_catalogue(args.catalogue)
    read = merged(read_unlabelled(path) for path in args.prompts)
    if not read.prompts:
        raise nothing_left(args.prompts[0], read.bad_rows)
    prompts = [replace(prompt, category="") for prompt in read.prompts]
    found = proposed(catalogue, prompts, load_encoder(args.encoder, args.device, args.cache), args.categories)
    print(f"{len(prompts)} prompts, {found.num_distinct} of them distinct, {len(found.categories)} categories")
    print(*lines_about(read.bad_rows), *catalogue.notes, *lines_of(found, catalogue), sep="\n")
    written = toml_of(found, catalogue) + "\n"
    if args.toml:
        args.toml.write_text(written, encoding="utf-8")
    else:
        print(f"\n{written}", end="")
    if args.json:
        text = json.dumps(figures_of(found, catalogue), ensure_ascii=False, indent=1)
        args.json.write_text(text + "\n", encoding="utf-8")
    if args.labelled:
        args.labelled.write_text(labelled_rows([prompt.text for prompt in prompts], found), encoding="utf-8")
    return 0


def labelled_rows(texts: list[str], found: Proposal) -> str:
    """Return JSONL that `coe router train` reads."""
    rows = zip(texts, found.assigned, strict=True)
    return "".join(json.dumps({"prompt": text, "category": name}) + "\n" for text, name in rows)
