"""Scores every expert on every labelled row, through the runtime, and writes the table that mappings are learned from.

One expert runs after another, so that each is loaded once, with as many rows at a time as a batch holds. Answers are
greedy, under the expert's own chat template and penalties. An answer that can no longer pass its check is cut short,
which changes no score. Knows nothing about routing.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass
from pathlib import Path

from coe.errors import ConfigError, RequestError
from coe.experts import ServedExpert, identity_of
from coe.runtime import Runtime
from coe.scoring.checks import TEXT_CHECKS, can_still_match
from coe.scoring.labelled import LabelledRow
from coe.scoring.results import Result, Results
from coe.types import Delta, GenerateEvent, GenerateRequest, Sampling

__all__ = ["Settings", "costs", "max_tokens", "score_experts", "write_table"]

VERSION = 1  # part of every key: raise it when scores would change, and everything is asked anew
MAX_TOKENS = {"last_number": 256, "first_word": 8}
# (what, rows done, rows in all) -> a function to call after each row
Bar = Callable[[str, int, int], AbstractContextManager[Callable[[], None]]]


@dataclass(frozen=True, slots=True)
class Settings:
    """How rows are asked. `max_tokens` None is as many as the check needs; a row's own limit comes before both."""

    max_tokens: int | None = None
    num_at_once: int = 16


async def score_experts(
    runtime: Runtime,
    rows: Sequence[LabelledRow],
    experts: Sequence[str],
    results: Results,
    settings: Settings,
    bar: Bar,
) -> dict[str, list[Result]]:
    """Return each expert's results in the order of `rows`, asking only for those that `results` does not have.

    Raises ConfigError for an expert that cannot be used, and the CoeError that a generation fails with. Finished
    results are in `results` in any case, also when this is cancelled.
    """
    for expert in experts:
        error = next(
            (status.error for status in runtime.operator.experts() if status.name == expert and status.error), None
        )
        if error is not None:
            raise ConfigError(f"{error}; mend it, or name the experts to score with --experts")
    scored: dict[str, list[Result]] = {}
    for expert in experts:
        of = identity_of(runtime.experts.served[expert])
        keys = [_key(row, expert, of, settings) for row in rows]
        todo = {key: row for key, row in zip(keys, rows, strict=True) if key not in results.known}
        with bar(f"score {expert}", len(set(keys)) - len(todo), len(set(keys))) as one_more:
            await _ask_all(runtime, expert, todo, results, settings, one_more)
        scored[expert] = [results.known[key] for key in keys]
    return scored


def _key(row: LabelledRow, expert: str, of: str, settings: Settings) -> str:
    facts = [VERSION, row.digest, expert, of, max_tokens(row, settings)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def max_tokens(row: LabelledRow, settings: Settings) -> int:
    """Return the row's limit; by default it is enough for a reference of which every byte is a token."""
    enough = MAX_TOKENS.get(row.check) or len(row.reference.encode()) + 16
    return row.max_tokens or settings.max_tokens or enough


async def _ask_all(
    runtime: Runtime,
    expert: str,
    todo: Mapping[str, LabelledRow],
    results: Results,
    settings: Settings,
    one_more: Callable[[], None],
) -> None:
    waiting = iter(todo.items())  # shared by all workers: on one event loop, each row goes to one of them

    async def work() -> None:
        for key, row in waiting:
            results.add(await _ask(runtime, expert, key, row, max_tokens(row, settings)))
            one_more()

    workers = [asyncio.create_task(work()) for _ in range(min(settings.num_at_once, len(todo)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


async def _ask(runtime: Runtime, expert: str, key: str, row: LabelledRow, max_tokens: int) -> Result:
    sampling = Sampling(max_tokens=max_tokens, temperature=0.0)
    request = GenerateRequest(
        f"score-{key}", row.messages, expert=expert, sampling=sampling, passes_over=False, is_kept=False
    )
    try:
        if row.check == "choice":
            totals = tuple([(await runtime.likelihoods(request, [text]))[0].total for text in row.choices])
            chosen = row.choices[max(range(len(totals)), key=totals.__getitem__)]
            return Result(key, expert, row.id, float(chosen == row.reference), chosen, totals)
        if row.check == "loss":
            (likelihood,) = await runtime.likelihoods(request, [row.reference])
            return Result(key, expert, row.id, math.exp(likelihood.mean), None, (likelihood.mean,))
        answer = await _answer(runtime.generate(request), row)
        return Result(key, expert, row.id, float(TEXT_CHECKS[row.check](answer, row.reference)), answer)
    except RequestError as error:  # this row, for this expert: too long for its context, say
        return Result(key, expert, row.id, None, error=str(error))


async def _answer(events: AsyncGenerator[GenerateEvent, None], row: LabelledRow) -> str:
    """Return the answer, up to where it can no longer pass the check."""
    text = ""
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Delta):
                text += event.text
                if not can_still_match(row.check, text, row.reference):
                    break
    return text


def write_table(path: Path, rows: Sequence[LabelledRow], scored: Mapping[str, Sequence[Result]]) -> None:
    """Write `{id, prompt, category, check, scores: {expert: number or null}}`, a line per row; all lines or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = path.with_name(f".{path.name}.part")
    with made.open("w", encoding="utf-8") as stream:
        for at, row in enumerate(rows):
            scores = {expert: results[at].score for expert, results in scored.items()}
            line = {"id": row.id, "prompt": row.prompt, "category": row.category, "check": row.check, "scores": scores}
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")
    made.replace(path)


def costs(experts: Iterable[ServedExpert]) -> dict[str, dict[str, float]]:
    """Return what experts cost, in billions of parameters, in the form that `coe router map --costs` reads."""
    manifests = {expert.loaded.name: expert.loaded.manifest for expert in experts}
    return {
        name: {"active_b": manifest.num_active_parameters / 1e9, "total_b": manifest.num_parameters / 1e9}
        for name, manifest in manifests.items()
    }
