"""`coe route`: which expert would answer a prompt, and why, without an answer: by a configuration, or by a server.

Torch and the router are imported where the decision is made here.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

from coe.cli.decision_text import decision_lines
from coe.cli.server_url import client_of
from coe.types import Decision, Message, RouteQuery

__all__ = ["add_arguments", "run"]

NOT_SHOWN = ("text", "vectors")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", nargs="+")
    parser.add_argument("--model", help="name an expert, as a request's `model` would")
    parser.add_argument("--explain", action="store_true", help="show every probability, the cost term, what is nearest")
    parser.add_argument("--url", help="ask this running server, which knows what is loaded, and not the configuration")
    parser.add_argument("--json", action="store_true", help="print the whole decision as one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print the decision."""
    prompt = " ".join(arguments.prompt)
    decision = _decided_here(arguments, prompt) if arguments.url is None else _asked(arguments, prompt)
    if arguments.json:
        print(json.dumps(_described(decision), ensure_ascii=False))
        return 0
    for line in decision_lines(decision, explains=arguments.explain):
        print(line)
    return 0


def _decided_here(arguments: argparse.Namespace, prompt: str) -> Decision:
    from coe.assembly.router import build_router
    from coe.config.read import load_config

    config = load_config(arguments.config)
    query = RouteQuery((Message("user", prompt),), arguments.model, only_explains=arguments.explain or arguments.json)
    return build_router(config.router, config.names).route([query])[0]


def _asked(arguments: argparse.Namespace, prompt: str) -> Decision:
    with client_of(arguments) as client:
        return client.route(prompt, model=arguments.model or "coe")


def _described(decision: Decision) -> dict[str, Any]:
    """Return the decision as /v1/route has it; likeliest categories first."""
    ranked = sorted(decision.probabilities.items(), key=lambda item: -item[1])
    whole = {**asdict(decision), "probabilities": dict(ranked)}
    return {name: value for name, value in whole.items() if name not in NOT_SHOWN}
