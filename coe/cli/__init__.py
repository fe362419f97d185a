"""The command line: `coe serve`, `route`, `experts`, `config check`, `router`, `bench`.

The one place that knows coe, the router and the server together. Each command reads the configuration, asks the module
that does the work and prints. Exit codes: 0 done, 1 failed, 2 a configuration or a command that cannot be used.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from coe.config.schema import Config, describe, load_config
from coe.errors import CoeError, ConfigError

if TYPE_CHECKING:
    from coe.types import Decision, ExpertStatus, Router, UnitStatus
    from router.artefact import Artefact
    from router.policy import Policy

__all__ = ["build_router", "main"]

log = logging.getLogger("coe")

WISHES = {
    "load": "bring experts of a running server to the device",
    "unload": "free what only these experts use",
    "pin": "load experts and keep them",
    "unpin": "let experts go when others need the room",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = _parser(words).parse_args(words)
    logging.basicConfig(
        level=logging.DEBUG if arguments.verbose else logging.INFO,
        format="%(asctime)s %(levelname).1s %(name)s %(message)s",
        stream=sys.stderr,
    )
    for noisy in ("httpx", "transformers", "huggingface_hub", "ContinuousBatchingLogger"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        code: int = arguments.run(arguments)
    except ConfigError as error:
        print(f"coe: {error}", file=sys.stderr)
        return 2
    except CoeError as error:
        print(f"coe: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def build_router(config: Config) -> Router:
    """Load the router that the configuration asks for; raises ConfigError."""
    from router import GeneralOnly, Router

    try:
        policy, artefact = _policy(config)
        if artefact is None or not _classifies(config):
            return GeneralOnly.with_policy(policy, () if artefact is None else artefact.categories)
        return Router.with_policy(policy, artefact, config.router.device)
    except (ValueError, OSError) as error:
        raise ConfigError(f"[router] {error}") from error


def _check_router(config: Config) -> None:
    """Raise ConfigError for what is wrong with `[router]`; the encoder is not loaded."""
    try:
        policy, artefact = _policy(config)
        policy.checked(() if artefact is None else artefact.categories)
    except (ValueError, OSError) as error:
        raise ConfigError(f"[router] {error}") from error


def _classifies(config: Config) -> bool:
    return config.router.enabled and len(config.experts) > 1


def _policy(config: Config) -> tuple[Policy, Artefact | None]:
    """What the router decides by, and the trained router; None where nothing needs its categories."""
    from router.directory import Directory
    from router.policy import Policy
    from router.residency import Expected, Residency, read_expected
    from router.router import load_artefact
    from router.rules import Rule, Rules
    from router.stickiness import DEFAULT_STICKINESS

    asked = config.router
    rules = Rules(
        [Rule(rule.expert, rule.category, rule.language, rule.keyword, rule.has_tools) for rule in asked.rules]
    )
    needs_categories = _classifies(config) or any(rule.category for rule in asked.rules)
    artefact = load_artefact(asked.artefact, asked.min_confidence) if needs_categories else None
    named = {category: config.expert_for(category) for category in (artefact.categories if artefact else ())}
    by_name = {category: expert for category, expert in named.items() if expert}
    expected = Expected() if asked.mapping is None or artefact is None else read_expected(asked.mapping)
    mapping = {**by_name, **expected.mapping, **asked.categories}
    residency = Residency(asked.residency_epsilon if artefact else 0.0, expected)
    stickiness = DEFAULT_STICKINESS if asked.stickiness is None else asked.stickiness
    return Policy(Directory(config.names, asked.general), mapping, rules, residency, stickiness), artefact


# -- commands


def _serve(arguments: argparse.Namespace) -> int:
    config = load_config(arguments.config)
    from server.serve import bind, serve

    listener = bind(
        arguments.host or config.server.host, config.server.port if arguments.port is None else arguments.port
    )
    host, port = listener.getsockname()[:2]
    from coe.assembly.wire import build_runtime
    from coe.progress import import_bars
    from server.app import create_app

    with import_bars() as progress:
        runtime = build_runtime(config, build_router(config), progress=progress)
    settings = config.server
    app = create_app(runtime, drain_s=settings.drain_s, max_body_bytes=settings.max_body_bytes)
    log.info("serving %d experts on http://%s:%d (Ctrl-C ends)", len(config.experts), host, port)
    serve(app, listener, drain_s=settings.drain_s)
    return 0


def _route(arguments: argparse.Namespace) -> int:
    config = load_config(arguments.config)
    from coe.types import Message, RouteQuery

    prompt = " ".join(arguments.prompt)
    query = RouteQuery((Message("user", prompt),), arguments.model, only_explains=arguments.explain)
    decision = build_router(config).route([query])[0]
    confidence = "" if decision.confidence is None else f" at {decision.confidence:.3f}"
    print(f"expert    {decision.expert}\ncategory  {decision.category or '-'}{confidence}\nwhy       {decision.why}")
    print(f"because   {decision.because}")
    shown = None if arguments.explain else 5
    for category, probability in sorted(decision.probabilities.items(), key=lambda item: -item[1])[:shown]:
        print(f"  {probability:6.3f}  {category}")
    if arguments.explain:
        _print_explanation(decision)
    return 0


def _print_explanation(decision: Decision) -> None:
    """What residency weighed, and the nearest training prompts."""
    if cost := decision.cost:
        weighed = f"{cost.mapped} {cost.mapped_score:.4f}, {cost.chosen} {cost.chosen_score:.4f}"
        print(f"cost      expected scores: {weighed}; near-equal within {cost.epsilon:g}")
    if decision.nearest:
        print("nearest   cosine, category, id, source, licence, text (our own prompts only)")
    for near in decision.nearest:
        text = "-" if near.text is None else " ".join(near.text.split())[:80]
        print(f"  {near.cosine:6.3f}  {near.category}  {near.id}  {near.source}  {near.license}  {text}")


def _experts(arguments: argparse.Namespace) -> int:
    from coe.client import Client

    with Client(arguments.url) as client:
        _print_experts(client.experts())
        store = client.store()
    print(f"store: {_in_gib(store.disk_bytes)} in {store.folder}")
    return 0


def _wish(arguments: argparse.Namespace) -> int:
    """Ask a running server to load, unload, pin or unpin experts."""
    from coe.client import Client

    with Client(arguments.url) as client:
        _print_experts([getattr(client, arguments.wish)(expert) for expert in arguments.expert])
    return 0


def _in_gib(size_bytes: int) -> str:
    from coe.progress import in_gib

    return in_gib(size_bytes)


def _pin(status: ExpertStatus) -> str:
    return "yes" if status.is_pinned else "streams" if status.is_streaming else "-"


def _where(units: Sequence[UnitStatus]) -> str:
    """Runs of units in one tier, in execution order: `13 device, 18 disk`."""
    runs = [(tier, len(list(run))) for tier, run in itertools.groupby(unit.tier for unit in units)]
    return ", ".join(f"{count} {tier}" for tier, count in runs) or "-"


def _print_experts(statuses: Sequence[ExpertStatus]) -> None:
    heads = ("expert", "tier", "bytes", "shared", "host", "device", "path", "dtype", "pin", "leases", "loads", "GB/s")
    rows: list[tuple[str, ...]] = [(*heads, "last used", "units", "error")]
    for status in statuses:
        speed = f"{status.loaded_bytes / status.load_s / 1e9:.2f}" if status.load_s else "-"
        used = "never" if status.last_used_s is None else f"{status.last_used_s:.0f} s ago"
        sizes = (status.size_bytes, status.shared_bytes, status.host_bytes, status.device_bytes)
        facts = (status.path, status.dtype, _pin(status), status.num_leases, status.num_loads)
        cells = (status.name, status.tier, *map(_in_gib, sizes), *facts, speed, used)
        cells = (*cells, _where(status.units), status.error or "-")
        rows.append(tuple(str(cell) for cell in cells))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _verify(arguments: argparse.Namespace) -> int:
    """Re-hash every stored unit of every expert."""
    config = load_config(arguments.config)
    from coe.assembly.wire import imported_experts

    store, imported, errors = imported_experts(config)
    bad = {expert.spec.name: store.verify(expert.manifest) for expert in imported}
    for name, units in bad.items():
        print(f"{name}: {'ok' if not units else 'BAD ' + ', '.join(unit.name for unit in units)}")
        store.drop(units)
    for error in errors.values():
        print(error)
    if any(bad.values()):
        print("bad units were removed: the next start imports them anew from the experts' sources")
    return 1 if any(bad.values()) or errors else 0


def _quantize(arguments: argparse.Namespace) -> int:
    config = load_config(arguments.config)
    from coe.bench.quantised import run

    return run(config, arguments)


def _gc(arguments: argparse.Namespace) -> int:
    """Free what no configured expert needs."""
    config = load_config(arguments.config)
    from coe.assembly.wire import imported_experts
    from coe.progress import in_gib

    store, imported, _ = imported_experts(config)
    freed = store.gc([expert.manifest for expert in imported])
    print(f"freed {in_gib(freed)}, {in_gib(store.disk_bytes())} in use in {store.folder}")
    return 0


def _check_config(arguments: argparse.Namespace) -> int:
    config = load_config(arguments.config)
    _check_router(config)
    print(describe(config))
    return 0


def _router_score(arguments: argparse.Namespace) -> int:
    """Run the configuration's experts, or those named, over labelled prompts, and write the score table."""
    config = load_config(arguments.config)
    from coe.scoring.command import run
    from router import GeneralOnly

    return run(config, arguments, lambda chosen: GeneralOnly(general=chosen.router.general, names=chosen.names))


def _bench_switch(arguments: argparse.Namespace) -> int:
    config = None if arguments.synthetic else load_config(arguments.config)
    from coe.bench.switch import run

    return run(config, arguments)


def _bench_route(arguments: argparse.Namespace) -> int:
    from coe.bench.route import Section, run
    from router import latency_report, quality_report

    parts: list[Callable[[argparse.Namespace, int], Section]] = [latency_report.measure]
    if arguments.prompts:
        parts.append(quality_report.measure)
    return run((part(arguments, arguments.seed) for part in parts), seed=arguments.seed, out=arguments.out)


def _bench_engine(arguments: argparse.Namespace) -> int:
    config = load_config(arguments.config)
    from coe.bench.engine import run

    return run(config, arguments)


def _bench_policy(arguments: argparse.Namespace) -> int:
    from coe.bench.policy import run

    return run(arguments)


# -- the grammar


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="coe", description="Composition-of-Experts serving")
    parser.add_argument("-v", "--verbose", action="store_true", help="log more")
    commands = parser.add_subparsers(required=True, metavar="command")

    serve = _command(commands, "serve", "serve a configuration over HTTP", _serve)
    serve.add_argument("--host", help="address to listen on (default: [server] host, loopback)")
    serve.add_argument("--port", type=int, help="port to listen on (default: [server] port, 8000; 0: any)")

    route = _command(commands, "route", "say which expert would answer a prompt, and why", _route)
    route.add_argument("prompt", nargs="+")
    route.add_argument("--model", help="name an expert, as a request's `model` would")
    route.add_argument("--explain", action="store_true", help="show every probability, the cost term, what is nearest")

    experts = commands.add_parser("experts", help="show the experts of a running server; look after the store")
    experts.add_argument("--url", default="http://127.0.0.1:8000", help="the server to ask")
    experts.set_defaults(run=_experts)
    chores = experts.add_subparsers(metavar="load|unload|pin|unpin|verify|gc|quantize")
    for wish, text in WISHES.items():
        parser_of_wish = chores.add_parser(wish, help=text, description=text)
        parser_of_wish.add_argument("expert", nargs="+")
        parser_of_wish.add_argument("--url", default=argparse.SUPPRESS, help="the server to ask")
        parser_of_wish.set_defaults(run=_wish, wish=wish)
    _command(chores, "verify", "re-hash stored weights; bad units are removed and imported anew", _verify)
    _command(chores, "gc", "free stored weights that no configured expert needs", _gc)

    quantize = _command(chores, "quantize", "store int8 forms; say what they cost and gain", _quantize)
    quantize.add_argument("--expert", action="append", default=[], help="which (repeatable; default: all)")
    quantize.add_argument("--report", action="store_true", help="measure perplexity, greedy agreement and step time")
    quantize.add_argument("--text", type=Path, help="UTF-8 text to measure on (default: a page of our own)")
    quantize.add_argument("--json", type=Path, help="write the report here too")

    config = commands.add_parser("config", help="work with a configuration").add_subparsers(required=True)
    _command(config, "check", "say what is wrong with a configuration, or what it means", _check_config)

    _add_router(commands, words)

    bench = commands.add_parser("bench", help="measure").add_subparsers(required=True, metavar="what")
    _add_bench_engine(bench)
    switch = _command(
        bench, "switch", "time to weights and to first token per tier, beside the ceilings", _bench_switch
    )
    _add_arguments(switch, words, "switch")
    text = "simulate eviction policies on the cache's own books, beside the offline optimum"
    policy = bench.add_parser("policy", help=text, description=text)
    _add_arguments(policy, words, "policy")
    policy.set_defaults(run=_bench_policy)
    _add_bench_route(bench, words)
    return parser


def _add_arguments(parser: argparse.ArgumentParser, words: Sequence[str], what: str) -> None:
    """A benchmark's own arguments; its module is imported only when it is asked for."""
    if "bench" in words and what in words:
        importlib.import_module(f"coe.bench.{what}").add_arguments(parser)


def _add_bench_route(bench: argparse._SubParsersAction[argparse.ArgumentParser], words: Sequence[str]) -> None:
    text = "time to encode and to decide, beside the bare arithmetic"
    route = bench.add_parser("route", help=text, description=text)
    route.add_argument("--seed", type=int, default=0)
    route.add_argument("--out", type=Path, help="folder for one JSON file and one picture per part")
    if ("bench", "route") in itertools.pairwise(words):  # torch takes seconds to import
        from router import latency_report, quality_report

        latency_report.add_arguments(route)
        quality_report.add_arguments(route)
    route.set_defaults(run=_refusing(_bench_route))


def _add_bench_engine(bench: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    engine = _command(
        bench, "engine", "tokens a second and time to first token, beside the ceiling and what others do", _bench_engine
    )
    engine.add_argument("--expert", help="which expert (default: the general one)")
    engine.add_argument("--quick", action="store_true", help="a trial: small cells, one run")
    engine.add_argument("--batches", type=int, nargs="+", help="batch sizes (default 1 4 8 16 32)")
    engine.add_argument("--prompts", type=int, nargs="+", help="prompt lengths in tokens (default 64 512 2048)")
    engine.add_argument("--tokens", type=int, help="new tokens a sequence (default 32)")
    engine.add_argument("--runs", type=int, default=3, help="runs of a cell, medians (default 3)")
    engine.add_argument("--out", type=Path, help="folder for engine-<dtype>.json and .png")
    engine.add_argument("--json", type=Path, help="write the result here too")
    engine.add_argument(
        "--gguf", type=Path, action="append", default=[], help="a GGUF of the expert; made into the same precision"
    )
    engine.add_argument("--no-transformers", action="store_true", help="leave transformers out")
    engine.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="cuda: captured and eager, no rivals")
    text = "cuda: a random model of this size too (8b, 1b; repeatable)"
    engine.add_argument("--synthetic", action="append", default=[], metavar="SIZE", help=text)


def _add_router(commands: argparse._SubParsersAction[argparse.ArgumentParser], words: Sequence[str]) -> None:
    """`coe router …`: each command is a module of the router's own, loaded only when it is asked for."""
    verbs = {
        "train": ("router.train", "add_arguments", "run", "train a router on prompts of your own"),
        "evaluate": ("router.evaluate", "add_arguments", "run", "measure a router on held-out prompts"),
        "map": ("router.frontier", "add_map_arguments", "run_map", "learn category -> expert under a budget"),
        "frontier": ("router.frontier", "add_arguments", "run", "sweep the budget: quality against cost"),
        "stickiness": ("router.follow_ups", "add_arguments", "run", "follow-ups that stay, new topics that move"),
        "explain": ("router.explain", "add_arguments", "run", "say why a prompt goes where it goes"),
    }
    router = commands.add_parser("router", help="train, measure and explain routers").add_subparsers(
        required=True, metavar="|".join([*verbs, "score"])
    )
    score = _command(router, "score", "run experts over labelled prompts; writes what `map` reads", _router_score)
    score.add_argument("labelled", type=Path, help="JSONL of {prompt or messages, category, check, answer or choices}")
    score.add_argument("--out", type=Path, required=True, help="the score table to write (.jsonl)")
    score.add_argument("--experts", nargs="+", metavar="NAME", help="experts to score (default: all)")
    score.add_argument("--results", type=Path, help="file that keeps every result (default: beside the table)")
    score.add_argument("--max-tokens", type=_positive, help="of an answer (default: as many as its check needs)")
    asked = next((after for word, after in itertools.pairwise(words) if word == "router"), None)
    for verb, (module_name, add_name, run_name, text) in verbs.items():
        parser = router.add_parser(verb, help=text, description=text)
        if verb == asked:  # scikit-learn takes a second to import
            module = importlib.import_module(module_name)
            getattr(module, add_name)(parser)
            parser.set_defaults(run=_refusing(getattr(module, run_name)))


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number above 0")
    return int(text)


def _refusing(run: Callable[[argparse.Namespace], int | None]) -> Callable[[argparse.Namespace], int]:
    """A router command whose complaints about its input are the user's to mend."""

    def run_it(arguments: argparse.Namespace) -> int:
        try:
            return run(arguments) or 0
        except (ValueError, FileNotFoundError) as error:
            raise ConfigError(str(error)) from error

    return run_it


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    text: str,
    run: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text)
    parser.add_argument("--config", "-c", default="coe.toml", help="configuration file (default: coe.toml)")
    parser.set_defaults(run=run)
    return parser
