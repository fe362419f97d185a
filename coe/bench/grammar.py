"""`coe bench grammar`: what it costs that answers keep to a grammar.

For schemas of three kinds: the time to compile one, to its first mask, and to the mask after each token of an answer,
thread changes included. Then steps of one expert: rows without grammars, half of them with one, all with one, in turns,
each row at temperature 1. Not covered: requests over HTTP, other kinds of grammars.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

from coe.bench.arguments import add_json_argument, add_out_argument, at_least
from coe.bench.engine.coe_contender import Coe
from coe.bench.engine.contender import Trace
from coe.bench.engine.grid import chosen_expert
from coe.bench.harness import in_turns
from coe.bench.report import Output, median, p95, record, table
from coe.bench.running_text import TEXT, prompt_of
from coe.config.read import load_config
from coe.grammar.compiler import Grammars
from coe.grammar.matcher import CompiledGrammar
from coe.text.templates import ExpertText
from coe.types import Grammar

__all__ = ["add_arguments", "run"]

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
ORDER = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{4}$"},
        "items": {
            "type": "array",
            "maxItems": 20,
            "items": {
                "type": "object",
                "properties": {
                    "kind": {"enum": ["book", "toy", "food"]},
                    "price": {"type": "number", "minimum": 0},
                    "note": {"type": "string", "maxLength": 80},
                },
                "required": ["kind", "price"],
                "additionalProperties": False,
            },
        },
        "next": {"anyOf": [{"type": "null"}, {"$ref": "#"}]},
    },
    "required": ["id", "items"],
    "additionalProperties": False,
}
# schemas by name, each with an answer
CASES: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "person": (PERSON, '{"name": "Ada Lovelace", "age": 36, "tags": ["mathematics", "a tag of several words", "x"]}'),
    "order": (
        ORDER,
        '{"id": "AB-1234", "items": [{"kind": "book", "price": 12.5, "note": "some words, and a comma"}, '
        '{"kind": "toy", "price": 3}], "next": null}',
    ),
    "any object": (
        {"type": "object"},
        '{"a": [1, 2, {"b": "some text that is longer"}], "c": null, "d": {"e": -1.5e3}}',
    ),
}
ENDLESS = {"type": "array", "items": PERSON, "minItems": 1000}  # no answer of the steps ends


@dataclass(frozen=True, slots=True)
class MaskCost:
    """One schema; medians over runs, masks over all tokens of all runs."""

    schema: str
    num_tokens: int
    compile_ms: float
    first_mask_ms: float
    mask_p50_ms: float
    mask_p95_ms: float


@dataclass(frozen=True, slots=True)
class StepCost:
    """Steps of one batch, of whose rows `num_with` have a grammar: percentiles over the steps of all runs.

    The tenth is what a step takes where nobody else has the processor.
    """

    batch_size: int
    num_with: int
    step_p10_ms: float
    step_p50_ms: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    count = at_least(1)
    parser.add_argument("--expert", help="which expert (default: the general one)")
    parser.add_argument("--batches", type=count, nargs="+", default=[1, 8], help="batch sizes (default 1 8)")
    parser.add_argument("--tokens", type=at_least(2), default=64, help="new tokens a sequence (default 64)")
    parser.add_argument("--runs", type=count, default=5, help="runs, medians (default 5)")
    add_out_argument(parser, "grammar.json")
    add_json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the benchmark; prints tables, then one JSON line. Returns the exit code."""
    output, config = Output(arguments.out, arguments.json), load_config(arguments.config)
    config = replace(config, engine=replace(config.engine, max_batch_size=max(arguments.batches), prefix_reuse=False))
    store, expert = chosen_expert(config, arguments.expert)
    coe, grammars = Coe(config, store, expert), Grammars()
    try:
        table_s = _seconds_of_first(grammars, coe.text)
        masks = [_mask_cost(name, coe.text, arguments.runs) for name in CASES]
        form = asyncio.run(grammars.compiled(Grammar("json_schema", json.dumps(ENDLESS)), coe.text))
        steps = [cost for size in arguments.batches for cost in _step_costs(coe, form, size, arguments)]
    finally:
        coe.close()
        grammars.close()
    print(f"{coe.text.num_rows} words, whose table takes {table_s:.2f} s, once")
    print(
        table(
            ("schema", "tokens", "compile ms", "first mask ms", "mask p50 ms", "p95 ms"), [_row(each) for each in masks]
        )
    )
    print(table(("batch", "with a grammar", "step p10 ms", "p50 ms"), [_row(each) for each in steps]))
    figures = {
        "expert": expert.spec.name,
        "backend": coe.backend,
        "num_words": coe.text.num_rows,
        "table_s": round(table_s, 3),
        "num_new_tokens": arguments.tokens,
        "masks": [asdict(each) for each in masks],
        "steps": [asdict(each) for each in steps],
    }
    output.publish("grammar", record("grammar", figures))
    return 0


def _row(cost: MaskCost | StepCost) -> list[str]:
    return [str(value) for value in asdict(cost).values()]


def _seconds_of_first(grammars: Grammars, text: ExpertText) -> float:
    started_s = time.perf_counter()
    asyncio.run(grammars.compiled(Grammar("json_object"), text))
    return time.perf_counter() - started_s


def _mask_cost(name: str, text: ExpertText, num_runs: int) -> MaskCost:
    schema, answer = CASES[name]
    ids = text.encode_continuation(answer)
    grammars = Grammars()
    asyncio.run(grammars.compiled(Grammar("json_object"), text))  # the table of tokens
    compile_s, first_s, mask_s = [], [], []
    for number in range(num_runs):
        # a schema that was not seen before, and is the same
        source = json.dumps({**schema, "description": str(number)})
        started_s = time.perf_counter()
        form = asyncio.run(grammars.compiled(Grammar("json_schema", source), text))
        compile_s.append(time.perf_counter() - started_s)
        first, *others = _mask_seconds(form, ids)
        first_s.append(first)
        mask_s += others
    grammars.close()
    return MaskCost(
        name, len(ids), *(_ms(each) for each in (median(compile_s), median(first_s), median(mask_s), p95(mask_s)))
    )


def _mask_seconds(form: CompiledGrammar, ids: Sequence[int]) -> Iterator[float]:
    """Yield how long the mask before each token of an answer takes."""
    started_s = time.perf_counter()
    matcher = form.matcher()
    for at in range(len(ids)):
        failure = matcher.failure()
        yield time.perf_counter() - started_s
        if failure is not None:
            raise failure
        started_s = time.perf_counter()
        matcher.take(ids[: at + 1])


def _step_costs(coe: Coe, form: CompiledGrammar, size: int, arguments: argparse.Namespace) -> Iterator[StepCost]:
    words = coe.tokens(TEXT)
    prompts = [prompt_of(words, row, 32) for row in range(size)]

    def contender(num_with: int) -> Trace:
        forms = [form if row < num_with else None for row in range(size)]
        return coe.run(prompts, arguments.tokens, range(size), forms)

    counts = sorted({0, size // 2, size})
    found = in_turns({str(count): partial(contender, count) for count in counts}, arguments.runs)
    for count in counts:
        steps_s = sorted(step_s for trace in found[str(count)] for step_s in _steps(trace))
        yield StepCost(size, count, _ms(steps_s[len(steps_s) // 10]), _ms(median(steps_s)))


def _steps(trace: Trace) -> list[float]:
    """Return the seconds between the first row's tokens, once every row has one."""
    times = [at_s for at_s in trace.token_s[0] if at_s >= trace.prefilled_s]
    return [after - before for before, after in pairwise(times)]


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 3)
