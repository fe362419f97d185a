"""`coe bench`: the benchmarks, each a module with a grammar of its own.

They are in coe/bench; `route` and `answers` need the router, `http` the server: bench_route.py,
bench_answers.py and bench_http.py hand them in.
"""

from __future__ import annotations

from coe.cli.commands import CommandParser, add_command

__all__ = ["add_arguments"]


def add_arguments(parser: CommandParser) -> None:
    benchmarks = parser.add_subparsers(required=True, metavar="engine|switch|policy|route|answers|grammar|stall|http")
    text = "tokens a second and time to first token, beside the ceiling and what others do"
    add_command(benchmarks, "engine", text, "coe.bench.engine.command", reads_config=True)
    text = "time to weights and to first token per tier, beside the ceilings"
    add_command(benchmarks, "switch", text, "coe.bench.switch.command", reads_config=True)
    text = "simulate eviction policies on the cache's own books, beside the offline optimum"
    add_command(benchmarks, "policy", text, "coe.bench.policy.command")
    text = "time to encode and to decide, beside the bare arithmetic"
    input_errors = (ValueError, FileNotFoundError)
    add_command(benchmarks, "route", text, "coe.cli.bench_route", input_errors=input_errors)
    text = "how many prompts another one's answer would answer, and how many wrongly"
    add_command(benchmarks, "answers", text, "coe.cli.bench_answers", input_errors=input_errors)
    text = "what a grammar costs: to compile, a token, and a step of rows with and without one"
    add_command(benchmarks, "grammar", text, "coe.bench.grammar", reads_config=True)
    text = "how long others wait for a running server while large bodies arrive"
    add_command(benchmarks, "stall", text, "coe.bench.stall")
    text = "what the server costs a request and a streamed token, and a fast engine's step rate over HTTP"
    add_command(benchmarks, "http", text, "coe.cli.bench_http")
