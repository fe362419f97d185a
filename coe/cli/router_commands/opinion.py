"""`coe router opinion`: what the general expert's likelihoods add where the router is unsure.

Owns the command's arguments and the asking; the general expert runs as it serves. What is compared, and how, is the
router's study of spending.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coe.assembly.router import build_router
from coe.assembly.wire import build_runtime
from coe.config.read import load_config
from coe.config.schema import Config, RouterConfig
from coe.errors import ConfigError
from coe.machine.record import this_machine
from coe.progress import import_bars, row_bar
from coe.runtime import Runtime
from coe.types import GenerateRequest, Message
from router.encoding.cached_encoder import load_encoder
from router.labelled.prompts import Prompt, read_prompts
from router.mapping_study.figures import plain, print_figures
from router.spending_study.second_opinion import CONTENT_FREE, DESCRIPTIONS, Opinions, report_of, sentence
from router.spending_study.uncertain import least_sure, out_of_family

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompts", type=Path, nargs="+", help="labelled prompts with their families")
    parser.add_argument("--below", type=float, default=0.5, help="unsure: the likeliest category is below this (0.5)")
    parser.add_argument("--rows", type=int, default=400, help="unsure prompts to ask about, at most (400)")
    parser.add_argument("--per-family", type=int, default=8, help="of one family, at most (8)")
    parser.add_argument("--max-chars", type=int, default=2000, help="of a prompt that the expert reads (2000)")
    parser.add_argument("--encoder", default="multilingual-e5-small")
    parser.add_argument("--cache", type=Path, help="folder that keeps embeddings between runs")
    parser.add_argument("--json", type=Path, help="write the figures here, too")


def run(arguments: argparse.Namespace) -> int:
    """Print and write the report; raises ConfigError for prompts that cannot be used."""
    config = load_config(arguments.config)
    try:
        prompts = [prompt for path in arguments.prompts for prompt in read_prompts(path).prompts]
        unsure, categories, log_probabilities = _unsure(arguments, prompts)
    except (ValueError, OSError) as error:
        raise ConfigError(str(error)) from error
    chosen = _general_only(config)
    with import_bars() as progress:
        runtime = build_runtime(chosen, build_router(chosen.router, chosen.names), progress=progress)
    texts = [*CONTENT_FREE, *(prompt.text[: arguments.max_chars] for prompt in unsure)]
    likelihoods = asyncio.run(_likelihoods(runtime, config.router.general, texts, categories))
    opinions = Opinions(
        router=log_probabilities,
        likelihoods=likelihoods[len(CONTENT_FREE) :],
        prior=likelihoods[: len(CONTENT_FREE)].mean(axis=0),
        truth=np.array([categories.index(prompt.category) for prompt in unsure]),
        families=np.array([prompt.family for prompt in unsure]),
    )
    report = report_of(opinions)
    for name in ("router", "language_model", "uncalibrated", "combined"):
        print(f"{name:16} {getattr(report, name):.4f} right of {report.num_prompts}")
    found = report.difference
    print(f"combined - router {found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}]")
    setting = {name: getattr(arguments, name) for name in ("below", "rows", "per_family", "max_chars", "encoder")}
    source = chosen.experts[0].source
    expert = {"general": source.folder.name if source.folder else source.text, "categories": categories}
    figures = {"report": plain(report), "setting": setting | expert, "provenance": asdict(this_machine())}
    print_figures(figures, arguments.json)
    return 0


def _unsure(
    arguments: argparse.Namespace, prompts: Sequence[Prompt]
) -> tuple[list[Prompt], tuple[str, ...], NDArray[np.floating]]:
    """Return the prompts to ask about, the categories and the router's log-probabilities."""
    if strangers := sorted({prompt.category for prompt in prompts} - DESCRIPTIONS.keys()):
        raise ValueError(f"category '{strangers[0]}': it has no description; the study has {', '.join(DESCRIPTIONS)}")
    labels, families = (np.array([getattr(each, name) for each in prompts]) for name in ("category", "family"))
    vectors = load_encoder(arguments.encoder, "cpu", arguments.cache).encode([prompt.text for prompt in prompts])
    found = out_of_family(vectors, labels, families)
    rows = least_sure(found.log_probabilities, families, arguments.below, arguments.rows, arguments.per_family)
    if not len(rows):
        raise ValueError(f"no prompt is unsure below {arguments.below:g}; raise --below")
    return [prompts[row] for row in rows.tolist()], found.categories, found.log_probabilities[rows]


def _general_only(config: Config) -> Config:
    """Return the configuration with the general expert alone."""
    experts = tuple(expert for expert in config.experts if expert.name == config.router.general)
    return replace(config, experts=experts, router=RouterConfig(general=config.router.general, enabled=False))


async def _likelihoods(
    runtime: Runtime, general: str, texts: Sequence[str], categories: Sequence[str]
) -> NDArray[np.float64]:
    """Return (texts, categories): the mean log-likelihood of each category's sentence."""
    sentences = [sentence(DESCRIPTIONS[category]) for category in categories]
    await runtime.start()
    try:
        found = []
        with row_bar("second opinions", 0, len(texts)) as one_more:
            for number, text in enumerate(texts):
                request = GenerateRequest(f"o{number}", (Message("user", text),), expert=general)
                found.append([each.mean for each in await runtime.likelihoods(request, sentences)])
                one_more()
        return np.array(found)
    finally:
        await runtime.close()
