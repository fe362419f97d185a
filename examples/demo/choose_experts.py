"""Which expert the demo's router chooses for each test row, as {"id": …, "expert": …} lines for score_experts.py.

Owns nothing but the wiring: prompts go to the router as they stand in the data (one raw user turn), under the demo's
own config. Knows nothing about scores.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from coe.assembly.router import build_router
from coe.config.read import load_config
from coe.types import Decision, Message, RouteQuery, Router

from .rows import DEFAULT_DATA, Row, load_rows

HERE = Path(__file__).resolve().parent
BATCH_ROWS = 64


def load_router(config_file: Path) -> Router:
    """The router that `coe serve` would use for the config."""
    config = load_config(config_file)
    return build_router(config.router, config.names)


def choose(router: Router, rows: Sequence[Row]) -> list[Decision]:
    """One decision per row, in order."""
    questions = [RouteQuery((Message("user", row.prompt),)) for row in rows]
    starts = range(0, len(questions), BATCH_ROWS)
    return [decision for start in starts for decision in router.route(questions[start : start + BATCH_ROWS])]


def main(arguments: Sequence[str]) -> None:
    """Writes one line per row to standard output or a file."""
    parser = argparse.ArgumentParser(prog="choose_experts", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("experts", nargs="*", help="domains of the rows (default: every expert of the config)")
    parser.add_argument("--config", type=Path, default=HERE / "coe.toml")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--out", type=Path, default=Path("/dev/stdout"))
    options = parser.parse_args(arguments)
    config = load_config(options.config)
    domains = options.experts or [e.name for e in config.experts if e.name != config.router.general]
    rows = load_rows(options.data, experts=domains, split="test")
    decisions = choose(load_router(options.config), rows)
    lines = [
        {"id": row.id, "expert": d.expert, "category": d.category, "confidence": d.confidence, "why": d.why}
        for row, d in zip(rows, decisions, strict=True)
    ]
    options.out.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
