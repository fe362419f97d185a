"""`coe route`: which expert would answer a prompt, and why, without a server and without an answer."""

from __future__ import annotations

import argparse

from coe.assembly.router import build_router
from coe.config.read import load_config
from coe.types import Decision, Message, RouteQuery

__all__ = ["add_arguments", "run"]

NUM_SHOWN = 5  # probabilities, without --explain
TEXT_CHARS = 80  # of a training prompt's text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", nargs="+")
    parser.add_argument("--model", help="name an expert, as a request's `model` would")
    parser.add_argument("--explain", action="store_true", help="show every probability, the cost term, what is nearest")


def run(arguments: argparse.Namespace) -> int:
    """Print the decision."""
    config = load_config(arguments.config)
    message = Message("user", " ".join(arguments.prompt))
    query = RouteQuery((message,), arguments.model, only_explains=arguments.explain)
    decision = build_router(config.router, config.names).route([query])[0]
    confidence = "" if decision.confidence is None else f" at {decision.confidence:.3f}"
    print(f"expert    {decision.expert}\ncategory  {decision.category or '-'}{confidence}\nwhy       {decision.why}")
    print(f"because   {decision.because}")
    shown = None if arguments.explain else NUM_SHOWN
    for category, probability in sorted(decision.probabilities.items(), key=lambda item: -item[1])[:shown]:
        print(f"  {probability:6.3f}  {category}")
    if arguments.explain:
        _print_explanation(decision)
    return 0


def _print_explanation(decision: Decision) -> None:
    """Print what the price of a switch weighed, what the shadow says, and the nearest training prompts."""
    if cost := decision.cost:
        mapped = f"{cost.mapped} {cost.mapped_score:.4f} in {cost.mapped_load_s:.2f} s"
        chosen = f"{cost.chosen} {cost.chosen_score:.4f} in {cost.chosen_load_s:.2f} s"
        print(f"cost      expected scores: {mapped}, {chosen}; a second is worth {cost.score_per_second:g}")
    if shadow := decision.shadow:
        confidence = "" if shadow.confidence is None else f" at {shadow.confidence:.3f}"
        choice = f"{shadow.expert}, {shadow.category or '-'}{confidence}, why {shadow.why}"
        print(f"shadow    version {shadow.version}: {choice if shadow.error is None else shadow.error}")
    if decision.nearest:
        print("nearest   cosine, category, id, source, licence, text (our own prompts only)")
    for near in decision.nearest:
        text = "-" if near.text is None else " ".join(near.text.split())[:TEXT_CHARS]
        print(f"  {near.cosine:6.3f}  {near.category}  {near.id}  {near.source}  {near.license}  {text}")
