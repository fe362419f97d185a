"""The command `coe bench switch`: what it costs to run another expert, beside the limits and beside doing without coe.

Thirty experts of one size, made from the configuration's first by changing one bit per unit; memory for a few.
Ceilings, rivals and the paper's policy are measured in the same run. `--device cuda` runs every case on the GPU;
`--synthetic 8b` does it with experts made on the spot.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from coe.assembly.processor import choose_device
from coe.bench.arguments import add_json_argument, add_out_argument, at_least
from coe.bench.report import Output, median, record
from coe.bench.switch.ceilings import measure_ceilings
from coe.bench.switch.experts import BenchedExperts, configured_experts, synthetic_experts
from coe.bench.switch.overlap import measure_overlap
from coe.bench.switch.picture import paint
from coe.bench.switch.rivals import Rival, measure_rivals
from coe.bench.switch.rounds import Rounds
from coe.bench.switch.sharing import measure_sharing
from coe.bench.switch.tables import ceilings_line, print_result
from coe.bench.switch.testbed import home_of
from coe.bench.switch.traffic import measure_traffic
from coe.bench.synthetic import SHAPES
from coe.config.paths import cache_dir
from coe.config.read import load_config
from coe.errors import ConfigError

__all__ = ["add_arguments", "run"]

SECTIONS = ("overlap", "traffic", "rivals", "sharing")  # beside the cases


def add_arguments(parser: argparse.ArgumentParser) -> None:
    count = at_least(1)
    parser.add_argument("--runs", type=count, default=5, help="rounds over all cases (default 5)")
    text = "experts made from the first one (default 30; synthetic: 2)"
    parser.add_argument("--experts", type=count, help=text)
    parser.add_argument("--device", choices=("emulated", "cuda"), default="emulated", help="where host hits go")
    parser.add_argument(
        "--synthetic", choices=SHAPES, help="make random experts of this shape; no configuration needed"
    )
    parser.add_argument(
        "--dir",
        type=Path,
        default=cache_dir() / "synthetic",
        help="unit store for synthetic experts (default %(default)s)",
    )
    parser.add_argument(
        "--sections", nargs="*", choices=SECTIONS, default=SECTIONS, help="what to measure beside the cases (all)"
    )
    add_out_argument(parser, "switch.json and switch.png")
    add_json_argument(parser)
    parser.add_argument("--requests", type=count, default=120, help="requests of the mixed traffic (default 120)")
    parser.add_argument(
        "--gguf", type=Path, action="append", default=[], help="a GGUF of the first expert, for llama.cpp (repeatable)"
    )
    parser.add_argument("--prompt", default="What is the capital of France?", help="what every expert is asked")


def run(arguments: argparse.Namespace) -> int:
    """Run the benchmark; prints a table, then one JSON line. Returns the exit code: 1 if outputs differed."""
    choose_device(arguments.device)  # before anything is written for a GPU that is not there
    if arguments.experts == 1 and "overlap" in arguments.sections:
        raise ConfigError("--experts 1: overlap needs two, one to decode while the other is loaded; leave it out")
    output, experts = Output(arguments.out, arguments.json), _experts(arguments)
    ceilings = measure_ceilings(experts.distinct.files_of(experts.distinct.names[0]), arguments.device)
    print(ceilings_line(ceilings))
    rounds = Rounds(experts, ceilings, arguments.device, arguments.prompt)
    asyncio.run(rounds.measure(arguments.runs))
    rivals = _rivals(experts, rounds.token_ids, arguments) if "rivals" in arguments.sections else []
    prefill_s = median(rounds.resident.first_token_s)
    rows = [case.figures(prefill_s) for case in (*rounds.cases, *(rival.case for rival in rivals))]
    figures = {
        "device": arguments.device,
        "cases": rows,
        **asyncio.run(_sections(experts, arguments)),
        "ceilings_bytes_per_s": {name: round(value) for name, value in asdict(ceilings).items() if value},
        "import_s": round(experts.import_s, 1),
        "num_experts": len(experts.distinct.imported),
        "expert_bytes": experts.base.manifest.size_bytes,
        "synthetic": arguments.synthetic,
        "dtype": experts.base.manifest.dtype,
        "backends": rounds.backends,
        "num_prompt_tokens": len(rounds.token_ids),
        "num_outputs_compared": rounds.num_compared,
        "num_outputs_different": rounds.num_different,
        "rivals_with_same_token": _agreeing(rivals, rounds, experts.base.spec.name),
    }
    print_result(figures)
    output.publish("switch", record("switch", figures), partial(paint, rows))
    return 0 if rounds.num_different == 0 else 1


def _experts(arguments: argparse.Namespace) -> BenchedExperts:
    if not arguments.synthetic:
        return configured_experts(load_config(arguments.config), arguments.experts)
    with_checkpoint = "rivals" in arguments.sections
    return synthetic_experts(arguments.synthetic, arguments.dir, arguments.experts, with_checkpoint=with_checkpoint)


def _rivals(experts: BenchedExperts, token_ids: tuple[int, ...], arguments: argparse.Namespace) -> list[Rival]:
    assert experts.checkpoint is not None
    home, dtype = home_of(arguments.device), experts.base.manifest.dtype
    return measure_rivals(experts.checkpoint, token_ids, dtype, home, arguments.gguf, arguments.runs)


def _agreeing(rivals: Sequence[Rival], rounds: Rounds, base: str) -> list[str]:
    """Return the rivals whose first token was always that of our experts: variants answer as their base does."""
    own = rounds.tokens.get(base)
    expected = set(rounds.tokens.values()) if own is None else {own}
    return [rival.case.name for rival in rivals if set(rival.token_ids) == expected]


async def _sections(experts: BenchedExperts, arguments: argparse.Namespace) -> dict[str, Any]:
    """What was asked for beside the cases."""
    testbed, device, prompt, wanted = experts.distinct, arguments.device, arguments.prompt, arguments.sections
    found: dict[str, Any] = {}
    if "overlap" in wanted:
        found["overlap"] = await measure_overlap(testbed, device, prompt, arguments.runs)
    if "traffic" in wanted:
        found["traffic"] = await measure_traffic(testbed, home_of(device), prompt, arguments.requests)
    if "sharing" in wanted:
        made = f"made: {experts.sharing.shared_share:.0%} of their bytes saved by sharing"
        found["sharing"] = [await measure_sharing(experts.sharing, device, made)]
        if experts.configured is not None:
            found["sharing"].append(await measure_sharing(experts.configured, device, "the configuration's own"))
    return found
